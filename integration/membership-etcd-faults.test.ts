import {setTimeout} from 'node:timers/promises';
import {formatCidr} from '../lib/ip/cidr.ts';
import {makeEtcd} from './harness/etcd.ts';
import {
  hostOf,
  isReady,
  joinEtcd,
  listKeys,
  network,
  peersOf,
  prefix,
  putKey,
  subnetOf,
} from './harness/etcd-members.ts';
import {startProxy} from './harness/etcd-proxy.ts';
import {testWith} from './harness/needs.ts';
import {enterOwnNetns} from './harness/own-netns.ts';

const test = testWith('root', 'apt');
test.before(() => enterOwnNetns('etcd'));

test.serial('the lease revoked, the key deleted: the same subnet is taken again', async (t) => {
  const etcd = await makeEtcd(t);
  await putKey(etcd, 'config', network);
  const a = joinEtcd(t, etcd, 'a', {last: 1});
  const b = joinEtcd(t, etcd, 'b', {last: 2});
  for (const each of [a, b]) await each.until('ready', isReady);
  const subnet = subnetOf(a)!;
  const name = subnet.replace('/', '-');
  const {stdout} = await etcd.ctl(['lease', 'list']);
  for (const lease of stdout.trim().split('\n').slice(1)) await etcd.ctl(['lease', 'revoke', lease]);
  await b.until(
    'a went and came back',
    () => b.snapshots.some(({peers}) => peers.length === 0) && b.snapshot.peers.length === 1,
  );
  await a.until('ready', isReady);
  t.is(subnetOf(a), subnet);
  t.true((await listKeys(etcd, 'subnets')).includes(`${prefix}/subnets/${name}`));
  await etcd.ctl(['del', `${prefix}/subnets/${name}`]);
  while (!(await listKeys(etcd, 'subnets')).includes(`${prefix}/subnets/${name}`));
  t.true(a.snapshots.every(({self}) => self === undefined || formatCidr(self.subnets[0]!) === subnet));
});

test.serial('a lease that ends is followed by another, driven by the time etcd says is left', async (t) => {
  const etcd = await makeEtcd(t);
  await putKey(etcd, 'config', network);
  const a = joinEtcd(t, etcd, 'a', {last: 1, leaseTtlS: 8, aliveTtlS: 4});
  await a.until('ready', isReady);
  const key = `${prefix}/subnets/${subnetOf(a)!.replace('/', '-')}`;
  const created = async () =>
    /"create_revision":(\d+)/.exec((await etcd.ctl(['get', '-w', 'json', key])).stdout)?.[1];
  const before = await created();
  await setTimeout(12_000);
  t.is(await created(), before, 'the lease was renewed');
  etcd.members[0]!.pause();
  await setTimeout(11_000);
  etcd.members[0]!.resume();
  await a.until('ready', isReady);
  while ((await created()) === undefined);
  t.true(a.snapshots.every(({self}) => self === undefined || formatCidr(self.subnets[0]!) === subnetOf(a)));
});

test.serial(
  'a subnet that another took is a conflict: nothing is given up, and it ends when the other leaves',
  async (t) => {
    const etcd = await makeEtcd(t);
    await putKey(etcd, 'config', network);
    const a = joinEtcd(t, etcd, 'a', {last: 1});
    await a.until('ready', isReady);
    const subnet = subnetOf(a)!;
    const key = `subnets/${subnet.replace('/', '-')}`;
    const thief =
      '{"PublicIP":"192.0.2.66","PublicIPv6":null,"BackendType":"vxlan","BackendData":{"VNI":1,"VtepMAC":"c6:d2:32:6f:8f:66"}}';
    await putKey(etcd, key, thief);
    await a.until('conflict', ({membership}) => membership.state.kind === 'conflict');
    t.regex(
      a.membership.state.reason!,
      /^subnet \S+ is this host's \(a\), but it belongs to a host at 192\.0\.2\.66; remove/,
    );
    t.is(subnetOf(a), subnet);
    t.deepEqual(peersOf(a), []);
    // An agent that starts now does not take another one either: there may be containers.
    await a.membership.close();
    const again = joinEtcd(t, etcd, 'a', {last: 1});
    await again.until('conflict', ({membership}) => membership.state.kind === 'conflict');
    t.is((await listKeys(etcd, 'subnets')).length, 1);
    await etcd.ctl(['del', `${prefix}/${key}`]);
    await again.until('ready', isReady);
    t.is(subnetOf(again), subnet);
  },
);

test.serial('two hosts of one name: the second says so and waits', async (t) => {
  const etcd = await makeEtcd(t);
  await putKey(etcd, 'config', network);
  await putKey(etcd, 'alive/a', '{"boot":"another","publicIPs":["192.0.2.7"]}');
  const a = joinEtcd(t, etcd, 'a', {last: 1});
  await a.until('conflict', ({membership}) => membership.state.kind === 'conflict');
  t.is(
    a.membership.state.reason,
    'a host at 192.0.2.7 runs under the name a too; give each a name of its own (overlay.node)',
  );
  await etcd.ctl(['del', `${prefix}/alive/a`]);
  await a.until('ready', isReady);
});

test.serial('two hosts of one name that start together: one of them works, the other waits', async (t) => {
  const etcd = await makeEtcd(t);
  await putKey(etcd, 'config', network);
  // Whoever is second may hear of the first between any two steps of its own.
  const pairs = Array.from({length: 20}, (_, i) =>
    [2 * i + 1, 2 * i + 2].map((last) => joinEtcd(t, etcd, `node-${i}`, {last, boot: `boot-${last}`})),
  );
  const kindsOf = (pair: (typeof pairs)[number]) =>
    pair
      .map(({membership}) => membership.state.kind)
      .sort()
      .join();
  for (const pair of pairs)
    await pair[0]!.until('one ready, one in conflict', () => kindsOf(pair) === 'conflict,ready');
  await setTimeout(1500);
  for (const pair of pairs) t.is(kindsOf(pair), 'conflict,ready');
  t.is((await listKeys(etcd, 'subnets')).length, pairs.length);
  const {stdout} = await etcd.ctl(['get', '--prefix', '--print-value-only', `${prefix}/subnets`]);
  for (const [i, pair] of pairs.entries()) {
    const address = `192.0.2.${isReady(pair[0]!) ? 2 * i + 1 : 2 * i + 2}`;
    t.true(stdout.includes(`"PublicIP":"${address}"`), stdout);
  }
});

test.serial('a member that has lost the others says so, and is not waited for', async (t) => {
  const etcd = await makeEtcd(t, {addresses: ['127.0.0.1', '127.0.0.2', '127.0.0.3']});
  await putKey(etcd, 'config', network);
  const only = {endpoints: [etcd.endpoints[0]!]};
  const a = joinEtcd(t, only, 'a', {last: 1, aliveTtlS: 3600, probeMs: 3_600_000});
  await a.until('ready', isReady);
  for (const member of etcd.members.slice(1)) await member.stop('SIGKILL');
  await a.until('stale', ({membership}) => membership.state.kind === 'stale');
  t.regex(a.membership.state.reason!, /leader|timed out|answer/);
  for (const member of etcd.members.slice(1)) await member.start({wait: false});
  await a.until('ready', isReady);
});

test.serial(
  'all data lost: the same subnets are taken again, and an emptied list is confirmed',
  async (t) => {
    const etcd = await makeEtcd(t);
    await putKey(etcd, 'config', network);
    const all = ['a', 'b', 'c'].map((id, i) => joinEtcd(t, etcd, id, {last: i + 1}));
    for (const each of all) await each.until('ready', isReady);
    for (const each of all) await each.until('all', ({snapshot}) => snapshot.peers.length === 2);
    const subnets = all.map(subnetOf);
    await etcd.members[0]!.wipe();
    for (const each of all) await each.until('stale', ({membership}) => membership.state.kind === 'stale');
    t.is(await all[0]!.membership.relist(), undefined);
    await etcd.members[0]!.start();
    for (const each of all)
      await each.until(
        'all are back',
        ({snapshot, membership}) => membership.state.kind === 'ready' && snapshot.peers.length === 2,
      );
    t.deepEqual(all.map(subnetOf), subnets);
    t.is((await all[0]!.membership.relist())?.peers.length, 2);
    t.is((await listKeys(etcd, 'subnets')).length, 3);
  },
);

test.serial(
  'stopped, and compacted meanwhile: what changed is known afterwards, also a hardware address alone',
  async (t) => {
    const etcd = await makeEtcd(t);
    await putKey(etcd, 'config', network);
    const a = joinEtcd(t, etcd, 'a', {last: 1});
    const b = joinEtcd(t, etcd, 'b', {last: 2});
    const c = joinEtcd(t, etcd, 'c', {last: 3});
    for (const each of [a, b, c]) await each.until('ready', isReady);
    await a.until('both', ({snapshot}) => snapshot.peers.length === 2);
    await c.membership.close();
    // Cut off by a proxy of its own, so that the others can go on.
    const proxy = await startProxy(t, etcd.endpoints[0]!);
    const d = joinEtcd(t, {endpoints: [proxy.url]}, 'd', {last: 4});
    await d.until('three others', (each) => isReady(each) && each.snapshot.peers.length === 3);
    proxy.set('refuse');
    await d.until('stale', ({membership}) => membership.state.kind === 'stale');
    t.is(d.snapshot.peers.length, 3);
    b.membership.advertise({...hostOf(2), macs: {4: '02:00:00:00:00:bb'}});
    await etcd.ctl(['del', `${prefix}/subnets/${subnetOf(c)!.replace('/', '-')}`]);
    await a.until('b changed', ({snapshot}) =>
      snapshot.peers.some(({macs}) => macs[4] === '02:00:00:00:00:bb'),
    );
    await a.until('c left', ({snapshot}) => !snapshot.peers.some(({id}) => id === 'c'));
    const {stdout} = await etcd.ctl(['get', 'x', '-w', 'json']);
    await etcd.ctl(['compact', String((JSON.parse(stdout) as {header: {revision: number}}).header.revision)]);
    proxy.set('pass');
    await d.until('ready', isReady);
    await d.until('as it is', () => peersOf(d).join() === 'a@192.0.2.1,b@192.0.2.2');
    t.is(d.snapshot.peers.find(({id}) => id === 'b')?.macs[4], '02:00:00:00:00:bb');
  },
);

for (const mode of ['mute', 'garbage', 'slow', 'cut'] as const)
  test.serial(`a proxy in between that is ${mode} is survived`, async (t) => {
    const etcd = await makeEtcd(t);
    await putKey(etcd, 'config', network);
    const proxy = await startProxy(t, etcd.endpoints[0]!);
    const a = joinEtcd(t, {endpoints: [proxy.url]}, 'a', {last: 1, probeMs: 300});
    await a.until('ready', isReady);
    proxy.set(mode);
    const b = joinEtcd(t, etcd, 'b', {last: 2});
    await b.until('ready', isReady);
    await setTimeout(1500);
    proxy.set('pass');
    await a.until('b', () => peersOf(a).join() === 'b@192.0.2.2');
    await a.until('ready', isReady);
  });

test.serial('a watch that is open and silent is found out by asking', async (t) => {
  const etcd = await makeEtcd(t);
  await putKey(etcd, 'config', network);
  const proxy = await startProxy(t, etcd.endpoints[0]!, {silentWatches: 1});
  const a = joinEtcd(t, {endpoints: [proxy.url]}, 'a', {last: 1, probeMs: 300});
  await a.until('ready', isReady);
  const b = joinEtcd(t, etcd, 'b', {last: 2});
  await b.until('ready', isReady);
  await a.until('b', () => peersOf(a).join() === 'b@192.0.2.2');
  t.true(a.snapshots.length > 0);
});

test.serial('three members: the leader killed, the one in use frozen', async (t) => {
  const etcd = await makeEtcd(t, {addresses: ['127.0.0.1', '127.0.0.2', '127.0.0.3']});
  await putKey(etcd, 'config', network);
  const a = joinEtcd(t, etcd, 'a', {last: 1, aliveTtlS: 3});
  const b = joinEtcd(t, etcd, 'b', {last: 2, aliveTtlS: 3});
  for (const each of [a, b]) await each.until('ready', isReady);
  const leader = await etcd.leader();
  await leader.stop('SIGKILL');
  b.membership.advertise({...hostOf(2), macs: {4: '02:00:00:00:00:b1'}});
  await a.until('b changed', ({snapshot}) => snapshot.peers[0]?.macs[4] === '02:00:00:00:00:b1');
  await leader.start();
  // Each of the three in turn: one of them is what this host's connections are to.
  for (const [i, member] of etcd.members.entries()) {
    member.pause();
    const mac = `02:00:00:00:01:b${i}`;
    b.membership.advertise({...hostOf(2), macs: {4: mac}});
    await a.until(`b changed while ${i} is frozen`, ({snapshot}) => snapshot.peers[0]?.macs[4] === mac);
    member.resume();
  }
  for (const each of [a, b]) await each.until('ready', isReady);
  t.true(
    [a, b].every(
      ({snapshots}) => new Set(snapshots.flatMap(({self}) => self?.subnets.map(formatCidr) ?? [])).size === 1,
    ),
  );
});

test.serial('clocks that are set do not matter', async (t) => {
  const etcd = await makeEtcd(t);
  await putKey(etcd, 'config', network);
  const now = Date.now.bind(Date);
  t.teardown(() => {
    Date.now = now;
  });
  const a = joinEtcd(t, etcd, 'a', {last: 1, leaseTtlS: 10, aliveTtlS: 5});
  await a.until('ready', isReady);
  const states = a.states.length;
  for (const days of [1, -1]) {
    Date.now = () => now() + days * 86_400_000;
    await setTimeout(6000);
  }
  t.is(a.states.length, states);
  t.true((await listKeys(etcd, 'alive')).length === 1);
  t.true((a.membership.leaseLeftS ?? 0) > 0);
});

test.serial(
  'stopped for a while: peers stand, and nothing is listed again that can be gone on with',
  async (t) => {
    const etcd = await makeEtcd(t);
    await putKey(etcd, 'config', network);
    const a = joinEtcd(t, etcd, 'a', {last: 1});
    const b = joinEtcd(t, etcd, 'b', {last: 2});
    for (const each of [a, b]) await each.until('ready', isReady);
    await a.until('b', () => peersOf(a).length === 1);
    await etcd.members[0]!.stop();
    for (const each of [a, b]) await each.until('stale', ({membership}) => membership.state.kind === 'stale');
    t.is(a.snapshot.peers.length, 1);
    b.membership.advertise({...hostOf(2), macs: {4: '02:00:00:00:00:bc'}});
    await etcd.members[0]!.start();
    for (const each of [a, b]) await each.until('ready', isReady);
    await a.until('b changed', ({snapshot}) => snapshot.peers[0]?.macs[4] === '02:00:00:00:00:bc');
    t.true(a.snapshots.every(({self}) => self === undefined || formatCidr(self.subnets[0]!) === subnetOf(a)));
  },
);
