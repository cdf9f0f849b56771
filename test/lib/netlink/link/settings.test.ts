import test from 'ava';
import {familySettings} from '../../../../lib/netlink/link/settings.ts';
import {getLink, setLink} from '../../../../lib/netlink/route/link.ts';
import {isForwarding} from '../../../../lib/netlink/route/netconf.ts';
import {rtm} from '../../../../lib/netlink/route/socket.ts';
import {answersTo} from '../../../helpers/captures.ts';
import {recordingNetlink} from '../../../helpers/recording-netlink.ts';

test('a link says its IPv6 settings', async (t) => {
  const rt = recordingNetlink();
  rt.answers = answersTo('ip -d link show dev veth0').filter(({type}) => type === rtm.newLink);
  const {ipv6} = await getLink(rt, {name: 'veth0'});
  t.deepEqual(ipv6, {
    acceptRa: 1,
    disableIpv6: 0,
    acceptDad: 1,
    ndiscNotify: 0,
    keepAddrOnDown: 0,
    enhancedDad: 1,
  });
});

test('an IPv4 setting is changed by IFLA_AF_SPEC of linux/if_link.h', async (t) => {
  const rt = recordingNetlink();
  await setLink(rt, {ifindex: 7}, {ipv4: {arpNotify: 1}});
  const header = '00000000' + '07000000' + '00000000' + '00000000';
  const setting = '08001600' + '01000000';
  const spec = '14001a80' + '10000280' + '0c000180' + setting;
  t.is(rt.sent[0]!.body.toString('hex'), header + spec);
});

test('how a link gets its link-local address is changed by IFLA_INET6_ADDR_GEN_MODE of linux/if_link.h', async (t) => {
  const rt = recordingNetlink();
  await setLink(rt, {ifindex: 7}, {ipv6: {addrGenMode: 'none'}});
  const header = '00000000' + '07000000' + '00000000' + '00000000';
  const spec = '10001a80' + '0c000a80' + '05000800' + '01000000';
  t.is(rt.sent[0]!.body.toString('hex'), header + spec);
});

test('what an older kernel has not got is missing', (t) => {
  // AF_INET6 {IFLA_INET6_CONF: four numbers}
  const bytes = Buffer.from('18000a00' + '14000200' + '01000000000000000000000002000000', 'hex');
  t.deepEqual(familySettings.get(bytes, 0, bytes.length).ipv6, {
    acceptRa: 2,
    disableIpv6: undefined,
    acceptDad: undefined,
    ndiscNotify: undefined,
    keepAddrOnDown: undefined,
    enhancedDad: undefined,
  });
});

test('the VLANs of a bridge port, which are in the same place, are no settings', (t) => {
  // IFLA_BRIDGE_VLAN_INFO: flags 6, VLAN 1
  const bytes = Buffer.from('08000200' + '06000100', 'hex');
  t.is(familySettings.get(bytes, 0, bytes.length).ipv6, undefined);
});

test('whether a family is forwarded is asked by RTM_GETNETCONF', async (t) => {
  for (const [family, number] of [
    [4, '02'],
    [6, '0a'],
  ] as const) {
    for (const [value, isOn] of [
      ['01000000', true],
      ['00000000', false],
    ] as const) {
      const rt = recordingNetlink();
      const all = '08000100' + 'ffffffff';
      const body = Buffer.from(`${number}000000${all}08000200${value}`, 'hex');
      rt.answers = [{type: 80, flags: 0, body}];
      t.is(await isForwarding(rt, family), isOn);
      t.is(rt.sent[0]!.type, 82);
      t.is(rt.sent[0]!.body.toString('hex'), `${number}000000${all}`);
    }
  }
});
