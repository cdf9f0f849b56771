import test from 'ava';
import {kinds} from '../../lib/netlink/link/kinds.ts';
import {addBridgeVlans, listBridgeVlans, removeBridgeVlans} from '../../lib/netlink/route/bridge-vlan.ts';
import {addLink, getLink, removeLink, setLink} from '../../lib/netlink/route/link.ts';
import {samples} from '../../test/helpers/link-kinds.ts';
import {makeNamespace} from '../harness/namespace.ts';

const tried: string[] = [];

for (const [kind, {info, onLink}] of Object.entries(samples)) {
  test.serial(`the kernel makes a link of kind ${kind} and describes it as we did`, async (t) => {
    const {rt, show} = await makeNamespace(t);
    let below: number | undefined;
    if (onLink) {
      await addLink(rt, {name: 'below', info: {kind: 'dummy'}});
      below = (await getLink(rt, {name: 'below'})).ifindex;
    }
    await addLink(rt, {name: 'made', info, link: below});
    const link = await getLink(rt, {name: 'made'});
    t.is(link.info?.kind, info.kind);
    // A veth does not repeat what its peer was made with.
    if (info.data && kind !== 'veth') t.like(link.info, {data: info.data});
    if (onLink) t.is(link.link, below);
    const [shown] = await show('ip', 'link', 'show', 'made');
    t.like(shown, {linkinfo: {info_kind: kind}});
    t.true(await removeLink(rt, link));
    tried.push(kind);
  });
}

test.serial('every kind was made', (t) => {
  t.deepEqual(tried.sort(), Object.keys(kinds).sort());
});

test.serial('VLANs of a bridge and its ports', async (t) => {
  const {rt, show} = await makeNamespace(t);
  await addLink(rt, {name: 'br0', info: {kind: 'bridge', data: {vlanFiltering: true}}});
  const br0 = await getLink(rt, {name: 'br0'});
  await addLink(rt, {name: 'a', master: br0.ifindex, info: {kind: 'veth', data: {peer: {name: 'b'}}}});
  const a = await getLink(rt, {name: 'a'});
  const plain = {pvid: false, untagged: false};
  const first = {first: 1, last: 1, pvid: true, untagged: true};
  t.deepEqual((await listBridgeVlans(rt)).get(a.ifindex), [first]);

  await removeBridgeVlans(rt, a, [{first: 1, last: 4094}]);
  t.false((await listBridgeVlans(rt)).has(a.ifindex));
  await addBridgeVlans(rt, a, [
    {first: 7, last: 7, pvid: true, untagged: true},
    {first: 10, last: 20},
    {first: 30, last: 30},
  ]);
  t.deepEqual((await listBridgeVlans(rt)).get(a.ifindex), [
    {first: 7, last: 7, pvid: true, untagged: true},
    {first: 10, last: 20, ...plain},
    {first: 30, last: 30, ...plain},
  ]);
  const shown = (await show('bridge', 'vlan', 'show', 'dev', 'a')) as {
    vlans: {vlan: number; flags?: string[]}[];
  }[];
  t.like(shown[0]!.vlans[0], {vlan: 7, flags: ['PVID', 'Egress Untagged']});

  await addBridgeVlans(rt, {...br0, self: true}, [{first: 7, last: 7}]);
  t.deepEqual((await listBridgeVlans(rt)).get(br0.ifindex), [first, {first: 7, last: 7, ...plain}]);
  await removeBridgeVlans(rt, {...br0, self: true}, [{first: 7, last: 7}]);
  t.deepEqual((await listBridgeVlans(rt)).get(br0.ifindex), [first]);
  await setLink(rt, a, {master: 0});
  await t.throwsAsync(addBridgeVlans(rt, a, [{first: 7, last: 7}]), {
    message: /^add VLAN 7 of bridge port \d+: E/,
  });
});
