import {writeFile} from 'node:fs/promises';
import path from 'node:path';
import {setTimeout} from 'node:timers/promises';
import type {ExecutionContext} from 'ava';
import {EtcdClient} from '../agent/membership/etcd/client.ts';
import type {EtcdConf} from '../agent/membership/etcd/conf.ts';
import {formatLease} from '../agent/membership/etcd/flannel-lease.ts';
import {createEtcdMembership} from '../agent/membership/etcd/membership.ts';
import {HttpAgents} from '../agent/membership/http-agents.ts';
import type {Advertisement} from '../agent/membership/membership.ts';
import {formatIp, parseIp} from '../lib/ip/address.ts';
import {formatCidr} from '../lib/ip/cidr.ts';
import {keepLog, record, type Recorded} from '../test/helpers/membership-recorder.ts';
import {makeEtcd, type Etcd} from './harness/etcd.ts';
import {startProxy} from './harness/etcd-proxy.ts';
import {testWith} from './harness/needs.ts';
import {enterOwnNetns} from './harness/own-netns.ts';

const test = testWith('root', 'apt');
test.before(() => enterOwnNetns('etcd'));

const prefix = '/coreos.com/network';
const network = '{"Network":"10.5.0.0/16","Backend":{"Type":"vxlan"}}';

const conf: Omit<EtcdConf, 'endpoints'> = {
  prefix,
  leaseTtlS: 86_400,
  aliveTtlS: 60,
  requestTimeoutMs: 1000,
  retryMs: 50,
  retryMaxMs: 500,
  staleAfterMs: 500,
  probeMs: 60_000,
};

/** What the host with this last number of its address says of itself. */
const host = (last: number): Advertisement => ({
  underlay: [parseIp(`192.0.2.${last}`)!],
  macs: {4: `02:00:00:00:00:${last.toString(16).padStart(2, '0')}`},
  mtu: 1450,
});

function join(
  t: ExecutionContext,
  etcd: Pick<Etcd, 'endpoints'>,
  id: string,
  {last, ...more}: Partial<EtcdConf> & {readonly last?: number} = {},
): Recorded {
  const membership = createEtcdMembership(
    {...conf, endpoints: [...etcd.endpoints], ...more},
    {nodeId: id, network: {name: 'pods', form: 'routed'}, log: keepLog(t)},
  );
  const recorded = record(t, membership);
  if (last !== undefined) membership.advertise(host(last));
  return recorded;
}

const ready = ({membership}: Recorded) => membership.state.kind === 'ready';
const subnetOf = ({snapshots}: Recorded) => snapshots.at(-1)?.self?.subnets.map(formatCidr).join(' & ');
const peersOf = ({snapshots}: Recorded) =>
  (snapshots.at(-1)?.peers ?? []).map(({id, underlay}) => `${id}@${underlay.map(formatIp).join()}`).sort();

async function put(etcd: Etcd, key: string, value: string, ...flags: string[]): Promise<void> {
  await etcd.ctl(['put', ...flags, '--', `${prefix}/${key}`, value]);
}

async function keys(etcd: Etcd, below: string): Promise<string[]> {
  const {stdout} = await etcd.ctl(['get', '--prefix', '--keys-only', `${prefix}/${below}`]);
  return stdout.split('\n').filter((line) => line !== '');
}

test.serial('hosts take subnets and see each other; what they write is what flannel writes', async (t) => {
  const etcd = await makeEtcd(t);
  const a = join(t, etcd, 'a', {last: 1});
  await a.until('it waits for a configuration', () =>
    a.membership.state.reason?.includes('config is not there'),
  );
  await put(etcd, 'config', network);
  await a.until('ready', ready);
  const b = join(t, etcd, 'b', {last: 2});
  await b.until('ready', ready);
  await a.until('a sees b', () => peersOf(a).join() === 'b@192.0.2.2');
  await b.until('b sees a', () => peersOf(b).join() === 'a@192.0.2.1');
  t.like(b.snapshot.network, {name: 'pods', form: 'routed', vni: 1, port: 8472, directRouting: false});
  const name = subnetOf(a)!.replace('/', '-');
  const {stdout} = await etcd.ctl(['get', '--print-value-only', `${prefix}/subnets/${name}`]);
  t.is(
    stdout.trim(),
    '{"PublicIP":"192.0.2.1","PublicIPv6":null,"BackendType":"vxlan","BackendData":{"VNI":1,"VtepMAC":"02:00:00:00:00:01"},"Weft":{"v":1,"id":"a","mtu":1450}}',
  );
  t.deepEqual(
    await keys(etcd, 'subnets'),
    [a, b].map((each) => `${prefix}/subnets/${subnetOf(each)!.replace('/', '-')}`).sort(),
  );
  // What is said again changes nothing, and something else arrives.
  const seen = b.snapshots.length;
  a.membership.advertise(host(1));
  a.membership.advertise({...host(1), macs: {4: '02:00:00:00:00:99'}});
  await b.until('b sees the new address', () => b.snapshot.peers[0]?.macs[4] === '02:00:00:00:00:99');
  t.is(b.snapshots.length, seen + 1);
});

test.serial('a restart writes nothing; a host that comes back has the subnet it had', async (t) => {
  const etcd = await makeEtcd(t);
  await put(etcd, 'config', network);
  const first = join(t, etcd, 'a', {last: 1});
  await first.until('ready', ready);
  const subnet = subnetOf(first);
  await first.membership.close();
  const revision = async () =>
    (JSON.parse((await etcd.ctl(['get', 'x', '-w', 'json'])).stdout) as {header: {revision: number}}).header
      .revision;
  const before = await revision();
  const second = join(t, etcd, 'a', {last: 1});
  await second.until('ready', ready);
  t.is(subnetOf(second), subnet);
  t.is(await revision(), before);
  await second.membership.close();
  // Another address, another kernel: identity is the name.
  await etcd.ctl(['del', `${prefix}/alive/a`]);
  const third = join(t, etcd, 'a', {last: 9});
  await third.until('ready', ready);
  t.is(subnetOf(third), subnet);
  await third.membership.close();
  // The lease ended while it was away, and the record tells which one it was.
  await etcd.ctl(['del', '--prefix', `${prefix}/subnets`]);
  const fourth = join(t, etcd, 'a', {last: 9});
  await fourth.until('ready', ready);
  t.is(subnetOf(fourth), subnet);
});

test.serial('twenty hosts that start at once on an empty network have twenty subnets', async (t) => {
  const etcd = await makeEtcd(t);
  await put(etcd, 'config', network);
  const all = Array.from({length: 20}, (_, i) => join(t, etcd, `host-${i}`, {last: i + 1}));
  for (const each of all) await each.until('ready', ready);
  t.is(new Set(all.map(subnetOf)).size, 20);
  for (const each of all) await each.until('all others', ({snapshot}) => snapshot.peers.length === 19);
  t.is((await keys(etcd, 'subnets')).length, 20);
});

test.serial(
  'as many subnets as hosts: also the last free ones are found, two families at once',
  async (t) => {
    const etcd = await makeEtcd(t);
    await put(
      etcd,
      'config',
      '{"Network":"10.5.0.0/20","EnableIPv6":true,"IPv6Network":"fd00:5::/60","Backend":{"Type":"vxlan","VNI":7,"Port":4789}}',
    );
    const all = Array.from({length: 15}, (_, i) => join(t, etcd, `host-${i}`, {last: i + 1}));
    for (const each of all) await each.until('ready', ready);
    const families = [0, 1].map(
      (i) => new Set(all.map((each) => formatCidr(each.snapshot.self!.subnets[i]!))),
    );
    t.deepEqual(
      families.map(({size}) => size),
      [15, 15],
    );
    const late = join(t, etcd, 'late', {last: 99});
    await late.until('none is free', () => late.membership.state.reason?.includes('no subnet is free'));
    await etcd.ctl(['del', `${prefix}/nodes/host-3`]);
    await all[3]!.membership.close();
    const name = subnetOf(all[3]!)!.replaceAll('/', '-').replace(' & ', '&');
    await etcd.ctl(['del', `${prefix}/subnets/${name}`]);
    await late.until('ready', ready);
    t.is(subnetOf(late), subnetOf(all[3]!));
    t.is(late.snapshot.network.vni, 7);
  },
);

test.serial("flannel's own records: a peer, this host's before, a reservation without an end", async (t) => {
  const etcd = await makeEtcd(t);
  await put(etcd, 'config', network);
  const lease = /lease (\w+) granted/.exec((await etcd.ctl(['lease', 'grant', '86400'])).stdout)![1]!;
  const value = (last: number, mac: string) =>
    `{"PublicIP":"192.0.2.${last}","PublicIPv6":null,"BackendType":"vxlan","BackendData":{"VNI":1,"VtepMAC":"${mac}"}}`;
  await put(etcd, 'subnets/10.5.40.0-24', value(40, 'c6:d2:32:6f:8f:44'), `--lease=${lease}`);
  await put(etcd, 'subnets/10.5.41.0-24', value(1, 'c6:d2:32:6f:8f:45'), `--lease=${lease}`);
  await put(etcd, 'subnets/10.5.42.0-24', '{"PublicIP":"192.0.2.2"}');
  await put(etcd, 'subnets/10.5.43.0-24', '{"PublicIP":"192.0.2.43"}');
  await put(etcd, 'subnets/no-lease', 'whatever');
  const a = join(t, etcd, 'a', {last: 1});
  await a.until('ready', ready);
  t.is(subnetOf(a), '10.5.41.0/24');
  t.deepEqual(peersOf(a), ['10.5.40.0-24@192.0.2.40']);
  t.is(a.snapshot.peers[0]?.macs[4], 'c6:d2:32:6f:8f:44');
  const b = join(t, etcd, 'b', {last: 2});
  await b.until('ready', ready);
  t.is(subnetOf(b), '10.5.42.0/24');
  const {stdout} = await etcd.ctl(['get', '-w', 'json', `${prefix}/subnets/10.5.42.0-24`]);
  t.false(stdout.includes('"lease"'));
  await a.until('b', () => peersOf(a).includes('b@192.0.2.2'));
});

test.serial('the lease revoked, the key deleted: the same subnet is taken again', async (t) => {
  const etcd = await makeEtcd(t);
  await put(etcd, 'config', network);
  const a = join(t, etcd, 'a', {last: 1});
  const b = join(t, etcd, 'b', {last: 2});
  for (const each of [a, b]) await each.until('ready', ready);
  const subnet = subnetOf(a)!;
  const name = subnet.replace('/', '-');
  const {stdout} = await etcd.ctl(['lease', 'list']);
  for (const lease of stdout.trim().split('\n').slice(1)) await etcd.ctl(['lease', 'revoke', lease]);
  await b.until(
    'a went and came back',
    () => b.snapshots.some(({peers}) => peers.length === 0) && b.snapshot.peers.length === 1,
  );
  await a.until('ready', ready);
  t.is(subnetOf(a), subnet);
  t.true((await keys(etcd, 'subnets')).includes(`${prefix}/subnets/${name}`));
  await etcd.ctl(['del', `${prefix}/subnets/${name}`]);
  while (!(await keys(etcd, 'subnets')).includes(`${prefix}/subnets/${name}`));
  t.true(a.snapshots.every(({self}) => self === undefined || formatCidr(self.subnets[0]!) === subnet));
});

test.serial('a lease that ends is followed by another, driven by the time etcd says is left', async (t) => {
  const etcd = await makeEtcd(t);
  await put(etcd, 'config', network);
  const a = join(t, etcd, 'a', {last: 1, leaseTtlS: 5, aliveTtlS: 2});
  await a.until('ready', ready);
  const key = `${prefix}/subnets/${subnetOf(a)!.replace('/', '-')}`;
  const created = async () =>
    /"create_revision":(\d+)/.exec((await etcd.ctl(['get', '-w', 'json', key])).stdout)?.[1];
  const before = await created();
  await setTimeout(8000);
  t.is(await created(), before, 'the lease was renewed');
  etcd.members[0]!.pause();
  await setTimeout(7000);
  etcd.members[0]!.resume();
  await a.until('ready', ready);
  while ((await created()) === undefined);
  t.true(a.snapshots.every(({self}) => self === undefined || formatCidr(self.subnets[0]!) === subnetOf(a)));
});

test.serial(
  'a subnet that another took is a conflict: nothing is given up, and it ends when the other leaves',
  async (t) => {
    const etcd = await makeEtcd(t);
    await put(etcd, 'config', network);
    const a = join(t, etcd, 'a', {last: 1});
    await a.until('ready', ready);
    const subnet = subnetOf(a)!;
    const key = `subnets/${subnet.replace('/', '-')}`;
    const thief =
      '{"PublicIP":"192.0.2.66","PublicIPv6":null,"BackendType":"vxlan","BackendData":{"VNI":1,"VtepMAC":"c6:d2:32:6f:8f:66"}}';
    await put(etcd, key, thief);
    await a.until('conflict', ({membership}) => membership.state.kind === 'conflict');
    t.regex(
      a.membership.state.reason!,
      /^subnet \S+ is this host's \(a\), but it belongs to a host at 192\.0\.2\.66; remove/,
    );
    t.is(subnetOf(a), subnet);
    t.deepEqual(peersOf(a), []);
    // An agent that starts now does not take another one either: there may be containers.
    await a.membership.close();
    const again = join(t, etcd, 'a', {last: 1});
    await again.until('conflict', ({membership}) => membership.state.kind === 'conflict');
    t.is((await keys(etcd, 'subnets')).length, 1);
    await etcd.ctl(['del', `${prefix}/${key}`]);
    await again.until('ready', ready);
    t.is(subnetOf(again), subnet);
  },
);

test.serial('two hosts of one name: the second says so and waits', async (t) => {
  const etcd = await makeEtcd(t);
  await put(etcd, 'config', network);
  await put(etcd, 'alive/a', '{"boot":"another","publicIPs":["192.0.2.7"]}');
  const a = join(t, etcd, 'a', {last: 1});
  await a.until('conflict', ({membership}) => membership.state.kind === 'conflict');
  t.is(
    a.membership.state.reason,
    'a host at 192.0.2.7 runs under the name a too; give each a name of its own (overlay.node)',
  );
  await etcd.ctl(['del', `${prefix}/alive/a`]);
  await a.until('ready', ready);
});

test.serial(
  'all data lost: the same subnets are taken again, and an emptied list is confirmed',
  async (t) => {
    const etcd = await makeEtcd(t);
    await put(etcd, 'config', network);
    const all = ['a', 'b', 'c'].map((id, i) => join(t, etcd, id, {last: i + 1}));
    for (const each of all) await each.until('ready', ready);
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
    t.is((await keys(etcd, 'subnets')).length, 3);
  },
);

test.serial(
  'stopped, and compacted meanwhile: what changed is known afterwards, also a hardware address alone',
  async (t) => {
    const etcd = await makeEtcd(t);
    await put(etcd, 'config', network);
    const a = join(t, etcd, 'a', {last: 1});
    const b = join(t, etcd, 'b', {last: 2});
    const c = join(t, etcd, 'c', {last: 3});
    for (const each of [a, b, c]) await each.until('ready', ready);
    await a.until('both', ({snapshot}) => snapshot.peers.length === 2);
    await c.membership.close();
    // Cut off by a proxy of its own, so that the others can go on.
    const proxy = await startProxy(t, etcd.endpoints[0]!);
    const d = join(t, {endpoints: [proxy.url]}, 'd', {last: 4});
    await d.until('three others', (each) => ready(each) && each.snapshot.peers.length === 3);
    proxy.set('refuse');
    await d.until('stale', ({membership}) => membership.state.kind === 'stale');
    t.is(d.snapshot.peers.length, 3);
    b.membership.advertise({...host(2), macs: {4: '02:00:00:00:00:bb'}});
    await etcd.ctl(['del', `${prefix}/subnets/${subnetOf(c)!.replace('/', '-')}`]);
    await a.until('b changed', ({snapshot}) =>
      snapshot.peers.some(({macs}) => macs[4] === '02:00:00:00:00:bb'),
    );
    await a.until('c left', ({snapshot}) => !snapshot.peers.some(({id}) => id === 'c'));
    const {stdout} = await etcd.ctl(['get', 'x', '-w', 'json']);
    await etcd.ctl(['compact', String((JSON.parse(stdout) as {header: {revision: number}}).header.revision)]);
    proxy.set('pass');
    await d.until('ready', ready);
    await d.until('as it is', () => peersOf(d).join() === 'a@192.0.2.1,b@192.0.2.2');
    t.is(d.snapshot.peers.find(({id}) => id === 'b')?.macs[4], '02:00:00:00:00:bb');
  },
);

for (const mode of ['mute', 'garbage', 'slow', 'cut'] as const)
  test.serial(`a proxy in between that is ${mode} is survived`, async (t) => {
    const etcd = await makeEtcd(t);
    await put(etcd, 'config', network);
    const proxy = await startProxy(t, etcd.endpoints[0]!);
    const a = join(t, {endpoints: [proxy.url]}, 'a', {last: 1, probeMs: 300});
    await a.until('ready', ready);
    proxy.set(mode);
    const b = join(t, etcd, 'b', {last: 2});
    await b.until('ready', ready);
    await setTimeout(1500);
    proxy.set('pass');
    await a.until('b', () => peersOf(a).join() === 'b@192.0.2.2');
    await a.until('ready', ready);
  });

test.serial('a watch that is open and silent is found out by asking', async (t) => {
  const etcd = await makeEtcd(t);
  await put(etcd, 'config', network);
  const proxy = await startProxy(t, etcd.endpoints[0]!, {silentWatches: 1});
  const a = join(t, {endpoints: [proxy.url]}, 'a', {last: 1, probeMs: 300});
  await a.until('ready', ready);
  const b = join(t, etcd, 'b', {last: 2});
  await b.until('ready', ready);
  await a.until('b', () => peersOf(a).join() === 'b@192.0.2.2');
  t.true(a.snapshots.length > 0);
});

test.serial('three members: the leader killed, the one in use frozen', async (t) => {
  const etcd = await makeEtcd(t, {addresses: ['127.0.0.1', '127.0.0.2', '127.0.0.3']});
  await put(etcd, 'config', network);
  const a = join(t, etcd, 'a', {last: 1, aliveTtlS: 3});
  const b = join(t, etcd, 'b', {last: 2, aliveTtlS: 3});
  for (const each of [a, b]) await each.until('ready', ready);
  const leader = await etcd.leader();
  await leader.stop('SIGKILL');
  b.membership.advertise({...host(2), macs: {4: '02:00:00:00:00:b1'}});
  await a.until('b changed', ({snapshot}) => snapshot.peers[0]?.macs[4] === '02:00:00:00:00:b1');
  await leader.start();
  // Each of the three in turn: one of them is what this host's connections are to.
  for (const [i, member] of etcd.members.entries()) {
    member.pause();
    const mac = `02:00:00:00:01:b${i}`;
    b.membership.advertise({...host(2), macs: {4: mac}});
    await a.until(`b changed while ${i} is frozen`, ({snapshot}) => snapshot.peers[0]?.macs[4] === mac);
    member.resume();
  }
  for (const each of [a, b]) await each.until('ready', ready);
  t.true(
    [a, b].every(
      ({snapshots}) => new Set(snapshots.flatMap(({self}) => self?.subnets.map(formatCidr) ?? [])).size === 1,
    ),
  );
});

test.serial('TLS with a client certificate, and a password whose token runs out', async (t) => {
  const etcd = await makeEtcd(t, {tls: true, auth: {password: 'secret', prefix, tokenTtlS: 1}});
  await put(etcd, 'config', network);
  const {ca, cert, key} = etcd.certificates!;
  const passwordFile = path.join(path.dirname(ca), 'password');
  await writeFile(passwordFile, 'wrong\n');
  const tls = {caFile: ca, certFile: cert, keyFile: key, user: 'weft', passwordFile};
  const a = join(t, etcd, 'a', {last: 1, ...tls});
  await a.until('refused', () => a.membership.state.reason?.includes('authentication failed'));
  await writeFile(passwordFile, 'secret\n');
  await a.until('ready', ready);
  await setTimeout(3000);
  const b = join(t, etcd, 'b', {last: 2, ...tls});
  await b.until('ready', ready);
  a.membership.advertise({...host(1), macs: {4: '02:00:00:00:00:a9'}});
  await b.until('a changed', ({snapshot}) => snapshot.peers[0]?.macs[4] === '02:00:00:00:00:a9');
  // Tokens are forgotten with a restart.
  await etcd.members[0]!.stop();
  await etcd.members[0]!.start();
  a.membership.advertise({...host(1), macs: {4: '02:00:00:00:00:aa'}});
  await b.until('a changed again', ({snapshot}) => snapshot.peers[0]?.macs[4] === '02:00:00:00:00:aa');
  const stranger = join(t, etcd, 'c', {last: 3, caFile: ca});
  await stranger.until('refused', () =>
    /certificate|no endpoint/.test(stranger.membership.state.reason ?? ''),
  );
});

test.serial('containers of an l2 network are told one by one, and leave with the lease', async (t) => {
  const etcd = await makeEtcd(t);
  await put(etcd, 'config', network);
  const start = (id: string) => {
    const context = {nodeId: id, network: {name: 'flat', form: 'l2'} as const, log: keepLog(t)};
    const membership = createEtcdMembership({...conf, endpoints: [...etcd.endpoints]}, context);
    return record(t, membership);
  };
  const a = start('a');
  const b = start('b');
  const endpoint = (last: number) => ({
    ips: [parseIp(`10.5.7.${last}`)!],
    mac: `02:42:0a:05:07:${String(last).padStart(2, '0')}`,
  });
  a.membership.advertise({...host(1), endpoints: [endpoint(1), endpoint(2)]});
  b.membership.advertise(host(2));
  const seen = () =>
    (b.snapshot.peers[0]?.endpoints ?? []).map(({ips, mac}) => `${ips.map(formatIp).join()} ${mac}`).sort();
  await b.until('two', () => seen().length === 2);
  t.deepEqual(seen(), ['10.5.7.1 02:42:0a:05:07:01', '10.5.7.2 02:42:0a:05:07:02']);
  a.membership.advertise({...host(1), endpoints: [endpoint(2), endpoint(3)]});
  await b.until('one left, one came', () => seen().join().startsWith('10.5.7.2') && seen().length === 2);
  t.deepEqual(
    (await keys(etcd, 'endpoints')).sort(),
    ['2', '3'].map((last) => `${prefix}/endpoints/a/10.5.7.${last}`),
  );
  const many = Array.from({length: 250}, (_, i) => ({
    ips: [parseIp(`10.5.8.${i}`)!],
    mac: `02:42:0a:05:08:${i.toString(16).padStart(2, '0')}`,
  }));
  a.membership.advertise({...host(1), endpoints: many});
  await b.until('many', () => seen().length === 250);
  a.membership.advertise({...host(1), endpoints: []});
  await b.until('none', () => seen().length === 0);
});

test.serial(
  'a network that gets a second family: what hosts have stays, and one of the other comes to it',
  async (t) => {
    const etcd = await makeEtcd(t);
    await put(etcd, 'config', network);
    const all = ['a', 'b', 'c'].map((id, i) => join(t, etcd, id, {last: i + 1}));
    for (const each of all) await each.until('ready', ready);
    const before = all.map(subnetOf);
    await put(etcd, 'config', '{"Network":"10.5.0.0/16","EnableIPv6":true,"IPv6Network":"fd00:5::/56"}');
    for (const each of all) await each.until('both', ({snapshot}) => snapshot.self?.subnets.length === 2);
    t.deepEqual(
      all.map((each) => subnetOf(each)?.split(' & ')[0]),
      before,
    );
    t.is(new Set(all.map((each) => subnetOf(each)?.split(' & ')[1])).size, 3);
    await all[0]!.until('peers too', ({snapshot}) =>
      snapshot.peers.every(({subnets}) => subnets.length === 2),
    );
    t.is((await keys(etcd, 'subnets')).length, 3);
  },
);

test.serial('clocks that are set do not matter', async (t) => {
  const etcd = await makeEtcd(t);
  await put(etcd, 'config', network);
  const now = Date.now.bind(Date);
  t.teardown(() => {
    Date.now = now;
  });
  const a = join(t, etcd, 'a', {last: 1, leaseTtlS: 5, aliveTtlS: 2});
  await a.until('ready', ready);
  const states = a.states.length;
  for (const days of [1, -1]) {
    Date.now = () => now() + days * 86_400_000;
    await setTimeout(3500);
  }
  t.is(a.states.length, states);
  t.true((await keys(etcd, 'alive')).length === 1);
  t.true((a.membership.leaseLeftS ?? 0) > 0);
});

test.serial(
  'stopped for a while: peers stand, and nothing is listed again that can be gone on with',
  async (t) => {
    const etcd = await makeEtcd(t);
    await put(etcd, 'config', network);
    const a = join(t, etcd, 'a', {last: 1});
    const b = join(t, etcd, 'b', {last: 2});
    for (const each of [a, b]) await each.until('ready', ready);
    await a.until('b', () => peersOf(a).length === 1);
    await etcd.members[0]!.stop();
    for (const each of [a, b]) await each.until('stale', ({membership}) => membership.state.kind === 'stale');
    t.is(a.snapshot.peers.length, 1);
    b.membership.advertise({...host(2), macs: {4: '02:00:00:00:00:bc'}});
    await etcd.members[0]!.start();
    for (const each of [a, b]) await each.until('ready', ready);
    await a.until('b changed', ({snapshot}) => snapshot.peers[0]?.macs[4] === '02:00:00:00:00:bc');
    t.true(a.snapshots.every(({self}) => self === undefined || formatCidr(self.subnets[0]!) === subnetOf(a)));
  },
);

test.serial('five thousand members: a list, one change, half of them replaced', async (t) => {
  const etcd = await makeEtcd(t);
  await put(etcd, 'config', '{"Network":"10.0.0.0/8"}');
  const client = new EtcdClient({
    endpoints: [...etcd.endpoints],
    agents: new HttpAgents(() => ({})),
    requestTimeoutMs: 30_000,
    log: keepLog(t),
  });
  t.teardown(() => client.close());
  const write = async (from: number, to: number, generation: number) => {
    for (let at = from; at < to; at += 100) {
      const puts = Array.from({length: Math.min(100, to - at)}, (_, i) => {
        const n = at + i;
        const mac = `02:00:00:0${generation}:${(n >> 8).toString(16).padStart(2, '0')}:${(n & 255).toString(16).padStart(2, '0')}`;
        const ip = parseIp(`192.${n >> 8}.${n & 255}.1`)!;
        const value = formatLease({underlay: [ip], macs: {4: mac}}, {vni: 1, id: `n-${n}`});
        return {put: `${prefix}/subnets/10.${n >> 8}.${n & 255}.0-24`, value, lease: '0'};
      });
      await client.txn([], puts);
    }
  };
  await write(256, 5256, 0);
  const started = performance.now();
  const a = join(t, etcd, 'a', {last: 1, requestTimeoutMs: 30_000});
  await a.until('all', ({snapshot}) => snapshot.peers.length === 5000);
  t.log(`list of 5,000: ${(performance.now() - started).toFixed(0)} ms`);
  await a.until('ready', ready);
  let changed = performance.now();
  await write(300, 301, 1);
  await a.until('one', ({snapshot}) => snapshot.peers.some(({macs}) => macs[4]?.startsWith('02:00:00:01')));
  t.log(`one change: ${(performance.now() - changed).toFixed(0)} ms from before the write`);
  changed = performance.now();
  await write(256, 2756, 2);
  const written = performance.now();
  await a.until(
    'half',
    ({snapshot}) => snapshot.peers.filter(({macs}) => macs[4]?.startsWith('02:00:00:02')).length === 2500,
  );
  t.log(
    `2,500 changes: ${(performance.now() - changed).toFixed(0)} ms, ${(performance.now() - written).toFixed(0)} ms after the last write`,
  );
  t.is(a.snapshot.peers.length, 5000);
});
