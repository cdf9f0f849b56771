import {attach, check, detach, listAddresses, pings, showIp} from './harness/attachment.ts';
import {ensurePackages} from './harness/debian.ts';
import {makeHost} from './harness/host.ts';
import {testWith} from './harness/needs.ts';
import {callPlugin, referenceDir, tryPlugin} from './harness/plugin.ts';
import {assertNothingLeft, staysByDesign, takeSnapshot} from './harness/snapshot.ts';

const test = testWith('root', 'apt');

test.before(async () => {
  await ensurePackages('reference');
});

const network = {
  cniVersion: '1.0.0',
  name: 'fixed',
  type: 'bridge',
  bridge: 'cni0',
  isGateway: true,
  ipam: {
    type: 'static',
    addresses: [
      {address: '10.62.0.7/24', gateway: '10.62.0.1'},
      {address: '2001:db8:62::7/64', gateway: '2001:db8:62::1'},
    ],
    routes: [{dst: '0.0.0.0/0'}, {dst: '2001:db8:63::/64', mtu: 1400}],
    dns: {nameservers: ['10.62.0.1']},
  },
};

test('a container gets the addresses, routes and servers of the configuration, and reaches another one', async (t) => {
  const host = await makeHost(t);
  const before = await takeSnapshot(host);
  const a = await attach(host, 'a', network);
  const b = await attach(host, 'b', {...network, runtimeConfig: {ips: ['10.62.0.9/24']}});
  t.deepEqual(await listAddresses(host, 'eth0', 'a'), ['10.62.0.7/24', '2001:db8:62::7/64']);
  t.deepEqual(b.addresses, ['10.62.0.9']);
  t.deepEqual(a.result.dns, {nameservers: ['10.62.0.1']});
  t.true(await pings(host, 'a', '10.62.0.9'));
  t.true(await pings(host, 'b', '10.62.0.1'));
  const routes = await showIp<{dst: string; metrics?: {mtu: number}[]}>(host, ['-6', 'route'], 'a');
  t.like(
    routes.find(({dst}) => dst === '2001:db8:63::/64'),
    {metrics: [{mtu: 1400}]},
  );
  t.is((await check(host, a)).code, 0);
  for (const each of [a, b]) await detach(host, each);
  await host.sh('umount /run/netns/a /run/netns/b; rm /run/netns/a /run/netns/b');
  await assertNothingLeft(t, host, before, staysByDesign);
});

for (const args of ['', 'IP=10.62.0.8/24;GATEWAY=10.62.0.1', 'IgnoreUnknown=1;IP=fd00::8/64,10.62.0.8/24'])
  test(`answers as the reference does (CNI_ARGS "${args}")`, async (t) => {
    const host = await makeHost(t);
    const conf = {...network, type: 'static', cniVersion: '1.0.0'};
    const call = {conf, containerId: 'a', netns: '/run/netns/a', args} as const;
    const ours = await tryPlugin(host, {...call, command: 'ADD'});
    const theirs = await tryPlugin(host, {...call, command: 'ADD', dir: referenceDir()});
    // 1.1.1 does not know routes' "mtu".
    const routes = ours.reply?.routes?.map(({dst}) => ({dst}));
    t.deepEqual({...ours.reply, routes}, theirs.reply as never);
    t.is(ours.code, 0);
  });

test('a container of the reference with static addresses is checked and removed by ours, and the other way round', async (t) => {
  const host = await makeHost(t);
  const conf = {...network, ipam: {...network.ipam, routes: [{dst: '0.0.0.0/0'}]}};
  for (const [add, del] of [
    [{dir: referenceDir()}, {}],
    [{}, {dir: referenceDir()}],
  ]) {
    const netns = await host.addNetns('pod');
    const call = {conf, containerId: 'swapped', netns};
    const prevResult = await callPlugin(host, {...call, ...add, command: 'ADD'});
    await callPlugin(host, {...call, ...del, command: 'CHECK', prevResult});
    await callPlugin(host, {...call, ...del, command: 'DEL', prevResult});
    t.notRegex((await host.run(host.inNetns('pod', ['ip', '-o', 'link']))).stdout, /eth0/);
    await host.removeNetns('pod');
  }
});
