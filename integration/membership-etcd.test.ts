import {writeFile} from 'node:fs/promises';
import path from 'node:path';
import {setTimeout} from 'node:timers/promises';
import {EtcdClient} from '../agent/etcd/client.ts';
import {formatLease} from '../agent/membership/etcd/flannel-lease.ts';
import {HttpAgents} from '../agent/outbound/http-agents.ts';
import {formatIp, parseIp} from '../lib/ip/address.ts';
import {formatCidr} from '../lib/ip/cidr.ts';
import {keepLog} from '../test/helpers/membership-recorder.ts';
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
  revisionOf,
  subnetOf,
} from './harness/etcd-members.ts';
import {testWith} from './harness/needs.ts';
import {enterOwnNetns} from './harness/own-netns.ts';

const test = testWith('root', 'apt');
test.before(() => enterOwnNetns('etcd'));

test.serial('hosts take subnets and see each other; what they write is what flannel writes', async (t) => {
  const etcd = await makeEtcd(t);
  const a = joinEtcd(t, etcd, 'a', {last: 1});
  await a.until('it waits for a configuration', () =>
    a.membership.state.reason?.includes('config is not there'),
  );
  await putKey(etcd, 'config', network);
  await a.until('ready', isReady);
  const b = joinEtcd(t, etcd, 'b', {last: 2});
  await b.until('ready', isReady);
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
    await listKeys(etcd, 'subnets'),
    [a, b].map((each) => `${prefix}/subnets/${subnetOf(each)!.replace('/', '-')}`).sort(),
  );
  // What is said again changes nothing, and something else arrives.
  const seen = b.snapshots.length;
  a.membership.advertise(hostOf(1));
  a.membership.advertise({...hostOf(1), macs: {4: '02:00:00:00:00:99'}});
  await b.until('b sees the new address', () => b.snapshot.peers[0]?.macs[4] === '02:00:00:00:00:99');
  t.is(b.snapshots.length, seen + 1);
});

test.serial('a restart writes nothing; a host that comes back has the subnet it had', async (t) => {
  const etcd = await makeEtcd(t);
  await putKey(etcd, 'config', network);
  const first = joinEtcd(t, etcd, 'a', {last: 1});
  await first.until('ready', isReady);
  const subnet = subnetOf(first);
  await first.membership.close();
  const before = await revisionOf(etcd);
  const second = joinEtcd(t, etcd, 'a', {last: 1});
  await second.until('ready', isReady);
  t.is(subnetOf(second), subnet);
  t.is(await revisionOf(etcd), before);
  await second.membership.close();
  // Another address, another kernel: identity is the name.
  await etcd.ctl(['del', `${prefix}/alive/a`]);
  const third = joinEtcd(t, etcd, 'a', {last: 9});
  await third.until('ready', isReady);
  t.is(subnetOf(third), subnet);
  await third.membership.close();
  // The lease ended while it was away, and the record tells which one it was.
  await etcd.ctl(['del', '--prefix', `${prefix}/subnets`]);
  const fourth = joinEtcd(t, etcd, 'a', {last: 9});
  await fourth.until('ready', isReady);
  t.is(subnetOf(fourth), subnet);
});

test.serial('twenty hosts that start at once on an empty network have twenty subnets', async (t) => {
  const etcd = await makeEtcd(t);
  await putKey(etcd, 'config', network);
  const all = Array.from({length: 20}, (_, i) => joinEtcd(t, etcd, `host-${i}`, {last: i + 1}));
  for (const each of all) await each.until('ready', isReady);
  t.is(new Set(all.map(subnetOf)).size, 20);
  for (const each of all) await each.until('all others', ({snapshot}) => snapshot.peers.length === 19);
  t.is((await listKeys(etcd, 'subnets')).length, 20);
});

test.serial(
  'as many subnets as hosts: also the last free ones are found, two families at once',
  async (t) => {
    const etcd = await makeEtcd(t);
    await putKey(
      etcd,
      'config',
      '{"Network":"10.5.0.0/20","EnableIPv6":true,"IPv6Network":"fd00:5::/60","Backend":{"Type":"vxlan","VNI":7,"Port":4789}}',
    );
    const all = Array.from({length: 15}, (_, i) => joinEtcd(t, etcd, `host-${i}`, {last: i + 1}));
    for (const each of all) await each.until('ready', isReady);
    const families = [0, 1].map(
      (i) => new Set(all.map((each) => formatCidr(each.snapshot.self!.subnets[i]!))),
    );
    t.deepEqual(
      families.map(({size}) => size),
      [15, 15],
    );
    const late = joinEtcd(t, etcd, 'late', {last: 99});
    await late.until('none is free', () => late.membership.state.reason?.includes('no subnet is free'));
    await etcd.ctl(['del', `${prefix}/nodes/host-3`]);
    await all[3]!.membership.close();
    const name = subnetOf(all[3]!)!.replaceAll('/', '-').replace(' & ', '&');
    await etcd.ctl(['del', `${prefix}/subnets/${name}`]);
    await late.until('ready', isReady);
    t.is(subnetOf(late), subnetOf(all[3]!));
    t.is(late.snapshot.network.vni, 7);
  },
);

test.serial("flannel's own records: a peer, this host's before, a reservation without an end", async (t) => {
  const etcd = await makeEtcd(t);
  await putKey(etcd, 'config', network);
  const lease = /lease (\w+) granted/.exec((await etcd.ctl(['lease', 'grant', '86400'])).stdout)![1]!;
  const value = (last: number, mac: string) =>
    `{"PublicIP":"192.0.2.${last}","PublicIPv6":null,"BackendType":"vxlan","BackendData":{"VNI":1,"VtepMAC":"${mac}"}}`;
  await putKey(etcd, 'subnets/10.5.40.0-24', value(40, 'c6:d2:32:6f:8f:44'), `--lease=${lease}`);
  await putKey(etcd, 'subnets/10.5.41.0-24', value(1, 'c6:d2:32:6f:8f:45'), `--lease=${lease}`);
  await putKey(etcd, 'subnets/10.5.42.0-24', '{"PublicIP":"192.0.2.2"}');
  await putKey(etcd, 'subnets/10.5.43.0-24', '{"PublicIP":"192.0.2.43"}');
  await putKey(etcd, 'subnets/no-lease', 'whatever');
  const a = joinEtcd(t, etcd, 'a', {last: 1});
  await a.until('ready', isReady);
  t.is(subnetOf(a), '10.5.41.0/24');
  t.deepEqual(peersOf(a), ['10.5.40.0-24@192.0.2.40']);
  t.is(a.snapshot.peers[0]?.macs[4], 'c6:d2:32:6f:8f:44');
  const b = joinEtcd(t, etcd, 'b', {last: 2});
  await b.until('ready', isReady);
  t.is(subnetOf(b), '10.5.42.0/24');
  const {stdout} = await etcd.ctl(['get', '-w', 'json', `${prefix}/subnets/10.5.42.0-24`]);
  t.false(stdout.includes('"lease"'));
  await a.until('b', () => peersOf(a).includes('b@192.0.2.2'));
});

test.serial('TLS with a client certificate, and a password whose token runs out', async (t) => {
  const etcd = await makeEtcd(t, {tls: true, auth: {password: 'secret', prefix, tokenTtlS: 1}});
  await putKey(etcd, 'config', network);
  const {ca, cert, key} = etcd.certificates!;
  const passwordFile = path.join(path.dirname(ca), 'password');
  await writeFile(passwordFile, 'wrong\n');
  const tls = {caFile: ca, certFile: cert, keyFile: key, user: 'weft', passwordFile};
  const a = joinEtcd(t, etcd, 'a', {last: 1, ...tls});
  await a.until('refused', () => a.membership.state.reason?.includes('authentication failed'));
  await writeFile(passwordFile, 'secret\n');
  await a.until('ready', isReady);
  await setTimeout(3000);
  const b = joinEtcd(t, etcd, 'b', {last: 2, ...tls});
  await b.until('ready', isReady);
  a.membership.advertise({...hostOf(1), macs: {4: '02:00:00:00:00:a9'}});
  await b.until('a changed', ({snapshot}) => snapshot.peers[0]?.macs[4] === '02:00:00:00:00:a9');
  // Tokens are forgotten with a restart.
  await etcd.members[0]!.stop();
  await etcd.members[0]!.start();
  a.membership.advertise({...hostOf(1), macs: {4: '02:00:00:00:00:aa'}});
  await b.until('a changed again', ({snapshot}) => snapshot.peers[0]?.macs[4] === '02:00:00:00:00:aa');
  const stranger = joinEtcd(t, etcd, 'c', {last: 3, caFile: ca});
  await stranger.until('refused', () =>
    /certificate|no endpoint/.test(stranger.membership.state.reason ?? ''),
  );
});

test.serial('containers of an l2 network are told one by one, and leave with the lease', async (t) => {
  const etcd = await makeEtcd(t);
  await putKey(etcd, 'config', network);
  const [a, b] = [joinEtcd(t, etcd, 'a', {form: 'l2'}), joinEtcd(t, etcd, 'b', {form: 'l2'})];
  const endpoint = (last: number) => ({
    ips: [parseIp(`10.5.7.${last}`)!],
    mac: `02:42:0a:05:07:${String(last).padStart(2, '0')}`,
  });
  a.membership.advertise({...hostOf(1), endpoints: [endpoint(1), endpoint(2)]});
  b.membership.advertise(hostOf(2));
  const seen = () =>
    (b.snapshot.peers[0]?.endpoints ?? []).map(({ips, mac}) => `${ips.map(formatIp).join()} ${mac}`).sort();
  await b.until('two', () => seen().length === 2);
  t.deepEqual(seen(), ['10.5.7.1 02:42:0a:05:07:01', '10.5.7.2 02:42:0a:05:07:02']);
  a.membership.advertise({...hostOf(1), endpoints: [endpoint(2), endpoint(3)]});
  await b.until('one left, one came', () => seen().join().startsWith('10.5.7.2') && seen().length === 2);
  t.deepEqual(
    (await listKeys(etcd, 'endpoints')).sort(),
    ['2', '3'].map((last) => `${prefix}/endpoints/a/10.5.7.${last}`),
  );
  const many = Array.from({length: 250}, (_, i) => ({
    ips: [parseIp(`10.5.8.${i}`)!],
    mac: `02:42:0a:05:08:${i.toString(16).padStart(2, '0')}`,
  }));
  a.membership.advertise({...hostOf(1), endpoints: many});
  await b.until('many', () => seen().length === 250);
  a.membership.advertise({...hostOf(1), endpoints: []});
  await b.until('none', () => seen().length === 0);
});

test.serial(
  'a network that gets a second family: what hosts have stays, and one of the other comes to it',
  async (t) => {
    const etcd = await makeEtcd(t);
    await putKey(etcd, 'config', network);
    const all = ['a', 'b', 'c'].map((id, i) => joinEtcd(t, etcd, id, {last: i + 1}));
    for (const each of all) await each.until('ready', isReady);
    const before = all.map(subnetOf);
    await putKey(etcd, 'config', '{"Network":"10.5.0.0/16","EnableIPv6":true,"IPv6Network":"fd00:5::/56"}');
    for (const each of all) await each.until('both', ({snapshot}) => snapshot.self?.subnets.length === 2);
    t.deepEqual(
      all.map((each) => subnetOf(each)?.split(' & ')[0]),
      before,
    );
    t.is(new Set(all.map((each) => subnetOf(each)?.split(' & ')[1])).size, 3);
    await all[0]!.until('peers too', ({snapshot}) =>
      snapshot.peers.every(({subnets}) => subnets.length === 2),
    );
    t.is((await listKeys(etcd, 'subnets')).length, 3);
  },
);

test.serial('five thousand members: a list, one change, half of them replaced', async (t) => {
  const etcd = await makeEtcd(t);
  await putKey(etcd, 'config', '{"Network":"10.0.0.0/8"}');
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
  const a = joinEtcd(t, etcd, 'a', {last: 1, requestTimeoutMs: 30_000});
  await a.until('all', ({snapshot}) => snapshot.peers.length === 5000);
  t.log(`list of 5,000: ${(performance.now() - started).toFixed(0)} ms`);
  await a.until('ready', isReady);
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
