import type {ExecutionContext} from 'ava';
import {parseIp} from '../lib/ip/address.ts';
import {parseCidr} from '../lib/ip/cidr.ts';
import {listConnections} from '../lib/netlink/conntrack/entry.ts';
import {planDesired} from '../lib/overlay/desired.ts';
import {ensureRuleset, removeRuleset, type RulesetState} from '../lib/overlay/ensure-ruleset.ts';
import type {Member} from '../lib/overlay/member.ts';
import type {RulesetOptions} from '../lib/overlay/ruleset.ts';
import {
  makeLocal,
  makeMember,
  makeNetwork,
  makePair,
  reconcile,
  type OverlayHost,
} from './harness/overlay-pair.ts';
import {testWith} from './harness/needs.ts';

const test = testWith('root');
const members = [makeMember(1), makeMember(2)];
const everything: RulesetOptions = {filter: true, masquerade: {}};

function protect(
  host: OverlayHost,
  options: RulesetOptions = everything,
  {before, peers = members}: {readonly before?: RulesetState; readonly peers?: readonly Member[]} = {},
): Promise<RulesetState> {
  const self = members[host.number - 1]!;
  const others = peers.filter(({id}) => id !== self.id);
  const desired = planDesired({network: makeNetwork(), self, peers: others}, makeLocal(host));
  return ensureRuleset(host.nft, desired, options, before);
}

async function joined(t: ExecutionContext): Promise<readonly [OverlayHost, OverlayHost]> {
  const pair = await makePair(t);
  for (const host of pair) await reconcile(t, host, {members});
  return pair;
}

const ping = (host: OverlayHost, to: string, ...more: string[]) =>
  host.run('ping', '-c', '1', '-W', '3', ...more, to);

/** Packets counted by the rules whose text has this in it. */
async function counted(host: OverlayHost, text: string): Promise<number> {
  const {stdout} = await host.run('nft', 'list', 'ruleset');
  const lines = stdout.split('\n').filter((line) => line.includes(text));
  return lines.reduce((sum, line) => sum + Number(/packets (\d+)/.exec(line)?.[1] ?? 0), 0);
}

test('members are heard, others are not, and neither is tracked', async (t) => {
  const [a, b] = await joined(t);
  t.is((await protect(a)).did, 'all');
  await t.notThrowsAsync(ping(a, '10.244.2.1'));
  await t.notThrowsAsync(ping(b, '10.244.1.1'));
  t.deepEqual(await listConnections(a.nft, {family: 4, protocol: 17}), []);
  // Tracking itself is on.
  t.true((await listConnections(a.nft, {family: 4, protocol: 1})).length > 0);
  // The same host from an address that is no member's.
  await b.run('ip', 'addr', 'add', '192.168.50.99/24', 'dev', 'eth0');
  await b.run('ip', 'link', 'set', 'flannel.1', 'type', 'vxlan', 'id', '1', 'local', '192.168.50.99');
  await t.throwsAsync(ping(b, '10.244.1.1'));
  t.is(await counted(a, 'fib daddr type local'), 1);
});

test('another VNI on the same port is not our business', async (t) => {
  const [a, b] = await joined(t);
  await protect(a);
  for (const [host, n] of [
    [a, 1],
    [b, 2],
  ] as const) {
    const other = 3 - n;
    await host.run('ip', 'addr', 'add', `192.168.50.10${n}/24`, 'dev', 'eth0');
    await host.run(
      ...['ip', 'link', 'add', 'other', 'type', 'vxlan', 'id', '9', 'dstport', '8472'],
      ...['local', `192.168.50.10${n}`, 'remote', `192.168.50.10${other}`],
    );
    await host.run('ip', 'addr', 'add', `10.99.0.${n}/24`, 'dev', 'other');
    await host.run('ip', 'link', 'set', 'other', 'up');
  }
  await t.notThrowsAsync(ping(a, '10.99.0.2'));
});

test('what leaves the network has the address of the host, what stays in it does not', async (t) => {
  const [a, b] = await joined(t);
  await protect(a);
  await b.run(
    'nft',
    `add table ip seen; add chain ip seen in { type filter hook input priority 0; };
     add rule ip seen in ip saddr 192.168.50.1 icmp type echo-request counter;
     add rule ip seen in ip saddr 10.244.1.1 icmp type echo-request counter;
     add rule ip seen in ip saddr 192.168.50.1 udp sport 8472 udp dport 9999 counter;
     add rule ip seen in ip saddr 192.168.50.1 udp sport != 8472 udp dport 9999 counter;`,
  );
  await ping(a, '192.168.50.2', '-I', '10.244.1.1');
  t.is(await counted(b, 'saddr 192.168.50.1 icmp'), 1);
  await ping(a, '10.244.2.1', '-I', '10.244.1.1');
  t.is(await counted(b, 'saddr 10.244.1.1 icmp'), 1);
  // From the tunnel's own port: it must not keep it, or the answers would be taken for the tunnel's.
  const send = `const s = require('node:dgram').createSocket('udp4');
    s.bind(8472 + 0, '10.244.1.1', () => s.send('x', 9999, '192.168.50.2', () => s.close()));`;
  await a.run('ip', 'link', 'del', 'flannel.1');
  await a.run(process.execPath, '-e', send);
  t.is(await counted(b, 'udp sport 8472'), 0);
  t.is(await counted(b, 'udp sport != 8472'), 1);
});

test('two networks of a host do not reach each other', async (t) => {
  const [a, b] = await joined(t);
  const second = makeNetwork({name: 'other', vni: 2, ranges: [parseCidr('10.9.0.0/16')!]});
  const others = [1, 2].map((n) => ({
    ...makeMember(n, {vni: 2}),
    subnets: [parseCidr(`10.9.${n}.0/24`)!],
  }));
  for (const host of [a, b]) {
    await reconcile(t, host, {network: second, members: others});
    await host.run('ip', 'addr', 'add', `10.9.${host.number}.1/24`, 'dev', 'pod0');
  }
  // Through the other host: from one network's container to another's.
  await a.run('ip', 'route', 'del', '10.9.2.0/24');
  await a.run('ip', 'route', 'add', '10.9.2.0/24', 'via', '10.244.2.0', 'dev', 'flannel.1', 'onlink');
  await a.run('ip', 'route', 'add', '10.9.3.0/24', 'via', '10.244.2.0', 'dev', 'flannel.1', 'onlink');
  await b.run('ip', 'route', 'add', '10.9.3.0/24', 'dev', 'pod0');
  await b.run(
    'nft',
    'add table ip seen; add chain ip seen out { type filter hook postrouting priority 0; }; add rule ip seen out ip daddr 10.9.3.7 counter',
  );
  const send = () => ping(a, '10.9.3.7', '-I', '10.244.1.1').catch(() => {});
  await b.run('ip', 'neigh', 'add', '10.9.3.7', 'lladdr', '02:00:00:00:00:07', 'dev', 'pod0');
  await send();
  t.is(await counted(b, 'daddr 10.9.3.7'), 1);
  await protect(b, {filter: true, apartFrom: [second]});
  await send();
  t.is(await counted(b, 'daddr 10.9.3.7'), 1);
  // And within each, all is as before.
  await t.notThrowsAsync(ping(a, '10.244.2.1'));
});

test('a FORWARD that drops lets the network pass by a mark, with one rule that iptables can save', async (t) => {
  const [a, b] = await joined(t);
  const pod = '10.244.2.77';
  await b.run('iptables', '-P', 'FORWARD', 'DROP');
  await b.run('ip', 'neigh', 'add', pod, 'lladdr', '02:00:00:00:00:07', 'dev', 'pod0');
  await b.run(
    'nft',
    `add table ip seen; add chain ip seen out { type filter hook postrouting priority 0; }; add rule ip seen out ip daddr ${pod} counter`,
  );
  await ping(a, pod).catch(() => {});
  t.is(await counted(b, `daddr ${pod}`), 0);
  const options = {filter: true, forwardMark: 0x1000};
  const state = await protect(b, options);
  await ping(a, pod).catch(() => {});
  t.is(await counted(b, `daddr ${pod}`), 1);
  const saved = (await b.run('iptables-save', '-t', 'filter')).stdout;
  t.is(saved.split('\n').filter((line) => line.startsWith('-A')).length, 1);
  t.is((await protect(b, options, {before: state})).did, 'nothing');
});

test('a change of members costs as many elements; a flush is seen and repaired', async (t) => {
  const [a] = await makePair(t);
  const first = await protect(a);
  t.is((await protect(a, everything, {before: first})).did, 'nothing');
  const more = [...members, ...[3, 4].map((n) => makeMember(n))];
  const second = await protect(a, everything, {before: first, peers: more});
  t.is(second.did, 'members');
  t.is(second.generation, first.generation + 1);
  const elements = async () =>
    (await a.run('nft', 'list', 'set', 'inet', 'weft-overlay-pods', 'members4')).stdout;
  t.regex(await elements(), /192\.168\.50\.2, 192\.168\.50\.3,\s+192\.168\.50\.4/);
  const third = await protect(a, everything, {before: second, peers: [members[0]!, makeMember(4)]});
  t.regex(await elements(), /elements = \{ 192\.168\.50\.4 \}/);

  // Without any memory: all is compared, and nothing done.
  t.is((await protect(a, everything, {peers: [members[0]!, makeMember(4)]})).did, 'nothing');
  const damages: readonly (readonly [command: string, did: RulesetState['did']])[] = [
    ['flush ruleset', 'all'],
    ['delete table inet weft-overlay-pods', 'all'],
    ['flush chain inet weft-overlay-pods postrouting', 'all'],
    ['insert rule inet weft-overlay-pods from-underlay accept', 'all'],
    ['flush set inet weft-overlay-pods members4', 'members'],
    ['add element inet weft-overlay-pods members4 { 10.1.1.1 }', 'members'],
    ['add table inet somebody-elses', 'nothing'],
  ];
  const {stdout: whole} = await a.run('nft', 'list', 'table', 'inet', 'weft-overlay-pods');
  let before = third;
  for (const [command, did] of damages) {
    await a.run('nft', command);
    before = await protect(a, everything, {before, peers: [members[0]!, makeMember(4)]});
    t.is(before.did, did, command);
    t.is((await a.run('nft', 'list', 'table', 'inet', 'weft-overlay-pods')).stdout, whole, command);
  }
  await removeRuleset(a.nft, 'pods');
  await removeRuleset(a.nft, 'pods');
  t.false((await a.run('nft', 'list', 'tables')).stdout.includes('weft-overlay'));
});

test('5,000 members', async (t) => {
  const [a] = await makePair(t);
  const desired = planDesired({network: makeNetwork(), self: members[0]!, peers: []}, makeLocal(a));
  const sources = Array.from({length: 5000}, (_, i) => parseIp(`10.${i >> 8}.${i & 255}.1`)!);
  let state = await ensureRuleset(a.nft, {...desired, sources}, everything);
  t.is(state.did, 'all');
  const began = performance.now();
  state = await ensureRuleset(a.nft, {...desired, sources: sources.slice(1)}, everything, state);
  t.log(`one of 5,000 less: ${(performance.now() - began).toFixed(1)} ms`);
  t.is(state.did, 'members');
  t.is((await ensureRuleset(a.nft, {...desired, sources: sources.slice(1)}, everything)).did, 'nothing');
});
