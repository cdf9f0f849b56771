import test from 'ava';
import {insertRule} from '../../../lib/netlink/nft/rule.ts';
import {Writer} from '../../../lib/netlink/writer.ts';
import {admission} from '../../../lib/nat/admission.ts';

// What Debian's iptables 1.8.9 sends to the kernel for
//   iptables -I FORWARD 1 -m mark --mark 0x1000/0x1000 -j ACCEPT
// as the expressions of the rule.
const captured =
  '24000180090001006d657461000000001400028008000200000000030800010000000001440001800c00010062697477' +
  '69736500340002800800010000000001080002000000000108000300000000040c00048008000100001000000c000580' +
  '08000100000000002c00018008000100636d700020000280080001000000000108000200000000000c00038008000100' +
  '001000002c0001800c000100636f756e746572001c0002800c00010000000000000000000c0002000000000000000000' +
  '300001800e000100696d6d6564696174650000001c0002800800010000000000100002800c0002800800010000000001';

test('the rule in FORWARD has the bytes that iptables writes', (t) => {
  const w = new Writer();
  insertRule({family: 'ip', table: 'filter', chain: 'FORWARD', statements: admission(0x1000)}).put(w);
  const written = Buffer.from(w.bytes()).toString('hex');
  t.true(written.includes(captured), written);
});
