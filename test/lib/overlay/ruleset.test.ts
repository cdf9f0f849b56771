import test from 'ava';
import {parseIp} from '../../../lib/ip/address.ts';
import {parseCidr} from '../../../lib/ip/cidr.ts';
import {formatOperations} from '../../../lib/netlink/nft/operation.ts';
import {planDesired} from '../../../lib/overlay/desired.ts';
import {membersOf, planTable} from '../../../lib/overlay/ensure-ruleset.ts';
import type {OverlayNetwork} from '../../../lib/overlay/member.ts';
import {planRuleset, type RulesetOptions} from '../../../lib/overlay/ruleset.ts';
import {local, member, network} from './members.ts';

const v4 = network({ranges: [parseCidr('10.244.0.0/16')!]});

function rules(options: RulesetOptions, net: OverlayNetwork = v4): string[] {
  const overlay = net.ranges.length === 2 ? ([4, 6] as const) : ([4] as const);
  const of = (n: number) => member(n, {overlay});
  const desired = planDesired({network: net, self: of(1), peers: [of(2)]}, local());
  return formatOperations(planTable(planRuleset(desired, options), membersOf(desired.sources)))
    .trimEnd()
    .split('\n')
    .map((line) => (line.startsWith('add table') ? line : line.replace('inet weft-overlay-pods ', '')));
}

const chainRules = (chain: string, options: RulesetOptions, net?: OverlayNetwork) =>
  rules(options, net).flatMap((line) =>
    line.startsWith(`add rule ${chain} `) ? line.slice(`add rule ${chain} `.length) : [],
  );

test('the least: packets of the tunnel are not tracked', (t) => {
  t.deepEqual(rules({filter: false}).slice(3), [
    'add element members4 { 192.0.2.2 }',
    'create chain from-underlay',
    'add rule from-underlay notrack accept',
    'create chain prerouting { type filter hook prerouting priority -300 ; policy accept ; }',
    'add rule prerouting udp dport 8472 @th,96,24 0x1 goto from-underlay',
    'create chain to-underlay',
    'add rule to-underlay notrack',
    'create chain output { type filter hook output priority -300 ; policy accept ; }',
    'add rule output udp dport 8472 @th,96,24 0x1 goto to-underlay',
  ]);
});

test('a table says what it is for', (t) => {
  t.deepEqual(rules({filter: true}).slice(0, 3), [
    'add table inet weft-overlay-pods { comment "weft overlay: VNI 1, 10.244.0.0/16" ; }',
    'add set members4 { type ipv4_addr ; }',
    'add set members6 { type ipv6_addr ; }',
  ]);
});

test('members alone may send to the tunnel; what passes through does not matter', (t) => {
  t.deepEqual(chainRules('from-underlay', {filter: true}), [
    'ip saddr @members4 notrack accept',
    'ip6 saddr @members6 notrack accept',
    'fib daddr type local counter drop',
  ]);
});

test('encrypted: through the devices that do it, or not at all', (t) => {
  const options = {filter: true, through: ['wg1.0', 'wg1.3']};
  t.deepEqual(chainRules('from-underlay', options), [
    'iifname "wg1.0" ip saddr @members4 notrack accept',
    'iifname "wg1.0" ip6 saddr @members6 notrack accept',
    'iifname "wg1.3" ip saddr @members4 notrack accept',
    'iifname "wg1.3" ip6 saddr @members6 notrack accept',
    'fib daddr type local counter drop',
  ]);
  t.deepEqual(chainRules('to-underlay', options), [
    'oifname "wg1.0" notrack accept',
    'oifname "wg1.3" notrack accept',
    'counter drop',
  ]);
  t.deepEqual(chainRules('from-underlay', {filter: false, through: ['wg1.0']}), [
    'iifname "wg1.0" notrack accept',
    'fib daddr type local counter drop',
  ]);
});

test('masquerading: what leaves the network, and what comes into it from elsewhere', (t) => {
  const exempt = [parseCidr('192.168.0.0/16')!, parseCidr('fd00:9::/32')!];
  t.deepEqual(chainRules('postrouting', {filter: true, masquerade: {exempt}}), [
    'meta mark & 0x00004000 == 0x00004000 return',
    'ip saddr 10.244.1.0/24 ip daddr 10.244.0.0/16 return',
    'ip saddr 10.244.1.0/24 ip daddr 192.168.0.0/16 return',
    'ip saddr 10.244.1.0/24 ip daddr 224.0.0.0/4 return',
    'ip saddr 10.244.1.0/24 meta l4proto udp masquerade to :8473-65535 fully-random',
    'ip saddr 10.244.1.0/24 masquerade fully-random',
    'ip saddr != 10.244.0.0/16 ip daddr 10.244.1.0/24 return',
    'ip saddr != 10.244.0.0/16 ip daddr 10.244.0.0/16 meta l4proto udp masquerade to :8473-65535 fully-random',
    'ip saddr != 10.244.0.0/16 ip daddr 10.244.0.0/16 masquerade fully-random',
  ]);
});

test('masquerading of both families', (t) => {
  const found = chainRules('postrouting', {filter: true, masquerade: {fullyRandom: false}}, network());
  t.is(found.length, 1 + 2 * 7);
  t.true(found.includes('ip6 saddr fd00:244:0:1::/64 ip6 daddr ff00::/8 return'));
  t.true(found.includes('ip6 saddr fd00:244:0:1::/64 masquerade'));
});

test("the tunnel's port is never chosen, wherever it is", (t) => {
  for (const [port, range] of [
    [4789, '4790-65535'],
    [8472, '8473-65535'],
    [60_000, '1024-59999'],
    [65_535, '1024-65534'],
    [500, '1024-65535'],
  ] as const)
    t.true(
      chainRules('postrouting', {filter: true, masquerade: {}}, {...v4, port}).some((line) =>
        line.includes(`masquerade to :${range} `),
      ),
      String(port),
    );
});

test("the host's own FORWARD is told by a mark", (t) => {
  t.deepEqual(chainRules('forward', {filter: true, forwardMark: 0x1000}), [
    'ip saddr 10.244.0.0/16 meta mark set meta mark | 0x00001000',
    'ip daddr 10.244.0.0/16 meta mark set meta mark | 0x00001000',
  ]);
});

test('another network is kept out, by its addresses and by the tunnel', (t) => {
  const other = {name: 'other', ranges: [parseCidr('10.9.0.0/16')!]};
  t.deepEqual(chainRules('forward', {filter: true, forwardMark: 0x1000, apartFrom: [v4, other]}), [
    'ip saddr 10.244.0.0/16 ip daddr 10.9.0.0/16 drop',
    'ip saddr 10.9.0.0/16 ip daddr 10.244.0.0/16 drop',
    'iifname "flannel.1" ip daddr 10.9.0.0/16 drop',
    'oifname "flannel.1" ip saddr 10.9.0.0/16 drop',
    'ip saddr 10.244.0.0/16 meta mark set meta mark | 0x00001000',
    'ip daddr 10.244.0.0/16 meta mark set meta mark | 0x00001000',
  ]);
});

test('thousands of members are several messages', (t) => {
  const desired = planDesired({network: v4, self: member(1), peers: []}, local());
  const many = Array.from({length: 1200}, (_, i) => parseIp(`192.0.${i >> 8}.${i & 255}`)!);
  const operations = planTable(planRuleset(desired, {filter: true}), membersOf(many));
  t.is(operations.filter((each) => each.text().includes('add element')).length, 3);
});
