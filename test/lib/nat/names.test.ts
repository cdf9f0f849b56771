import test from 'ava';
import {ownerKey, shortHash} from '../../../lib/cni/owner.ts';
import {iptablesChainName, iptablesComment, parseIptablesComment} from '../../../lib/nat/names.ts';

test('iptables chains have the names that the Go plugins compute', (t) => {
  t.is(iptablesChainName('test', '1234'), 'CNI-2bbe0c48b91a7d1b8a6753a8');
  t.is(iptablesChainName('mynet', 'cid1', 'DN-'), 'CNI-DN-a631aa8e1549a3b129110');
  t.is(iptablesChainName('mynet', 'cid1'), 'CNI-a631aa8e1549a3b129110fd2');
});

test('the owner in an nftables comment has the hashes that the Go plugins compute', (t) => {
  t.is(shortHash('unit-test'), '6fd94d501e58f0aa');
  t.is(
    ownerKey({network: 'unit-test', containerId: 'one', ifName: 'eth0'}),
    '6fd94d501e58f0aa-287fc69eff0574a2',
  );
});

test('an iptables comment can be read back', (t) => {
  const names = {network: 'mynet', containerId: 'cid1'};
  t.is(iptablesComment(names), 'name: "mynet" id: "cid1"');
  t.deepEqual(parseIptablesComment(iptablesComment(names)), names);
  t.is(parseIptablesComment('CNI portfwd masquerade mark'), undefined);
});
