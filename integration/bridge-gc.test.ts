import {attach, check, detach, makeOutside, pings} from './harness/attachment.ts';
import {makeHost} from './harness/host.ts';
import {testWith} from './harness/needs.ts';
import {bridgeNetwork} from './harness/networks.ts';
import {callPlugin, tryPlugin} from './harness/plugin.ts';
import {assertNothingLeft, findLeft, staysByDesign, takeSnapshot} from './harness/snapshot.ts';

const test = testWith('root');

const allowed = [...staysByDesign, /^mount nsfs /, /^file \/run\/netns\//, /^file \/run\/xtables.lock$/];
const network = (more: Readonly<Record<string, unknown>> = {}) =>
  bridgeNetwork({name: 'collected', cniVersion: '1.1.0', macspoofchk: true, ...more});

const attachment = (containerID: string, ifname = 'eth0') => ({containerID, ifname});

for (const backend of ['nftables', 'iptables'])
  test(`${backend}: GC removes what stale attachments have and keeps the valid ones working`, async (t) => {
    const host = await makeHost(t);
    const outside = await makeOutside(host);
    const conf = network({ipMasqBackend: backend});
    const valid = await attach(host, 'valid', conf);
    const other = await attach(host, 'other', network({name: 'other', bridge: 'cni1', ipam: {...otherIpam}}));
    const before = await takeSnapshot(host);
    const stale = await attach(host, 'stale', conf);
    // Interfaces of one container share the reference's iptables chain: what is kept for one is kept for all.
    if (backend === 'nftables') await callPlugin(host, {...valid, ifName: 'net1', command: 'ADD'});
    const rebooted = await attach(host, 'rebooted', conf);
    await host.removeNetns('rebooted');
    t.not((await findLeft(host, before, allowed)).length, 0);

    await callPlugin(host, {conf, command: 'GC', attachments: [attachment('valid')]});
    await assertNothingLeft(t, host, before, allowed);
    for (const each of [valid, other]) {
      const {code, stdout} = await check(host, each);
      t.is(code, 0, stdout);
    }
    for (const address of [outside.address4, outside.address6]) t.true(await pings(host, 'valid', address));
    t.deepEqual(await outside.sources(), ['192.0.2.1', '2001:db8:ff::1']);
    // The addresses are free again, and what is attached to them works.
    const next = await attach(host, 'next', conf);
    t.is(next.addresses.length, 2);
    t.true(await pings(host, 'next', valid.addresses[0] ?? ''));
    // A late DEL of what was collected is no error, and harms nobody.
    for (const each of [stale, rebooted]) await detach(host, each);
    t.is((await check(host, next)).code, 0);
  });

const otherIpam = {
  type: 'host-local',
  ranges: [[{subnet: '10.63.0.0/24'}], [{subnet: '2001:db8:63::/64'}]],
  routes: [{dst: '0.0.0.0/0'}, {dst: '::/0'}],
};

test('GC with an empty list removes all attachments of this network and none of another', async (t) => {
  const host = await makeHost(t);
  // Same container ids and interfaces, and a name that begins as ours does.
  const conf = network({name: 'collected2', bridge: 'cni1', ipam: otherIpam});
  const other = await attach(host, 'same', conf, {ifName: 'net1'});
  const before = await takeSnapshot(host);
  await callPlugin(host, {...other, conf: network(), ifName: 'eth0', command: 'ADD'});
  await attach(host, 'two', network());
  await callPlugin(host, {conf: network(), command: 'GC', attachments: []});
  await assertNothingLeft(t, host, before, allowed);
  t.is((await check(host, other)).code, 0);
});

test('GC removes things of keys that were switched off since', async (t) => {
  const host = await makeHost(t);
  const before = await takeSnapshot(host);
  await attach(host, 'a', network());
  await callPlugin(host, {
    conf: {...network(), ipMasq: false, macspoofchk: false, vlan: 5000},
    command: 'GC',
    attachments: [],
  });
  await assertNothingLeft(t, host, before, allowed);
});

test('GC without a list of attachments is error 7 and removes nothing', async (t) => {
  const host = await makeHost(t);
  const a = await attach(host, 'a', network());
  const {code, reply} = await tryPlugin(host, {conf: network(), command: 'GC'});
  t.is(code, 1);
  t.is(reply?.code, 7);
  t.regex(reply?.msg ?? '', /valid-attachments/);
  t.is((await check(host, a)).code, 0);
});

test('GC of layer 2 removes the veth pair', async (t) => {
  const host = await makeHost(t);
  const conf = {cniVersion: '1.1.0', name: 'l2', type: 'bridge'};
  const before = await takeSnapshot(host);
  await attach(host, 'a', conf);
  await callPlugin(host, {conf, command: 'GC', attachments: []});
  await assertNothingLeft(t, host, before, allowed);
});

test('GC on a host where nothing was ever attached succeeds', async (t) => {
  const host = await makeHost(t);
  const before = await takeSnapshot(host);
  const {code, stdout} = await tryPlugin(host, {conf: network(), command: 'GC', attachments: []});
  t.is(code, 0, stdout);
  t.is(stdout, '');
  await assertNothingLeft(t, host, before, allowed);
});

test('GC goes on when IPAM is not there, and reports it', async (t) => {
  const host = await makeHost(t);
  const before = await takeSnapshot(host);
  await attach(host, 'a', network());
  const conf = network({ipam: {type: 'gone'}});
  const {code, reply} = await tryPlugin(host, {conf, command: 'GC', attachments: []});
  t.is(code, 1);
  t.regex(reply?.msg ?? '', /failed to find plugin "gone"/);
  await assertNothingLeft(t, host, before, [...allowed, /^file \/var\/lib\/cni\/networks\//]);
});

test('GC leaves links alone that are not ours, whatever their alias', async (t) => {
  const host = await makeHost(t);
  await host.sh(
    `ip link add mine type veth peer name other
    ip link set mine alias 'net: collected, if: eth0, id: a'
    ip link add br7 type bridge`,
  );
  await callPlugin(host, {conf: network(), command: 'GC', attachments: []});
  t.is((await host.run(['ip', '-o', 'link', 'show', 'mine'])).code, 0);
});
