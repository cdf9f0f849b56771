import test from 'ava';
import {parseConditions} from '../../../plugins/portmap/conditions.ts';

const rules = (key: 'conditionsV4' | 'conditionsV6', ...words: string[]) =>
  parseConditions(key, words)?.alternatives.map((statements) => statements.map(({text}) => text).join(' '));
const v4 = (...words: string[]) => rules('conditionsV4', ...words);

test('no words are no condition', (t) => {
  t.is(v4(), undefined);
  t.is(v4('', '  '), undefined);
});

test('words may be split anyhow', (t) => {
  const expected = ['ip saddr != 10.0.0.0/8 tcp sport 1024-65535'];
  t.deepEqual(v4('ip', 'saddr', '!=', '10.1.2.3/8', 'tcp sport 1024-65535'), expected);
  t.deepEqual(v4('ip saddr != 10.1.2.3/8 tcp sport 1024-65535'), expected);
});

test('lists in braces become rules of their own, refused ones one rule', (t) => {
  t.deepEqual(v4('ip saddr { 10.0.0.1, 10.0.0.2 } tcp sport {1,2}'), [
    'ip saddr 10.0.0.1 tcp sport 1',
    'ip saddr 10.0.0.1 tcp sport 2',
    'ip saddr 10.0.0.2 tcp sport 1',
    'ip saddr 10.0.0.2 tcp sport 2',
  ]);
  t.deepEqual(v4('ip saddr != { 10.0.0.1, 10.1.0.0/16, }'), ['ip saddr != 10.0.0.1 ip saddr != 10.1.0.0/16']);
});

test('everything that is understood', (t) => {
  for (const text of [
    'ip daddr 10.0.0.5-10.0.0.9',
    'iifname != "eth*"',
    'ether saddr 02:00:00:00:00:01',
    'meta mark 0x00000001',
    'meta mark & 0x000000ff != 0x00000003',
    'ct mark 0x00000007',
    'ct state established,new',
    'ct state != invalid ct state != related',
    'meta l4proto udp',
    'meta l4proto != 33',
    'th sport != 53',
    'sctp dport 80',
  ])
    t.deepEqual(v4(text), [text]);
  t.deepEqual(rules('conditionsV6', 'ip6 saddr fd00::/8 ip6 daddr != ::1'), [
    'ip6 saddr fd00::/8 ip6 daddr != ::1',
  ]);
  t.deepEqual(v4('meta iifname eth0 meta mark and 0xf eq 1 ct state { new }'), [
    'iifname "eth0" meta mark & 0x0000000f == 0x00000001 ct state new',
  ]);
  t.deepEqual(v4('ip saddr 0.0.0.0/0'), ['meta nfproto ipv4']);
});

const refuses = test.macro((t, words: string, problem: RegExp) => {
  const error = t.throws(() => v4(words));
  t.regex(error.message, problem);
  t.true(error.message.startsWith('conditionsV4: '));
  t.true(error.message.endsWith(`in "${words}"`));
});

for (const [words, problem] of [
  ['counter accept', /"counter" is not understood/],
  ['ip6 saddr ::1', /"ip6" is never true of packets of IPv4/],
  ['ip ttl 1', /expected "saddr" or "daddr", found "ttl"/],
  ['ip saddr', /something is missing after "saddr"/],
  ['ip saddr ::1', /"::1" is no address, subnet or range of IPv4/],
  ['ip saddr 10.0.0.9-10.0.0.1', /is no address, subnet or range/],
  ['ip saddr 10.0.0.1-2-3', /is no range/],
  ['ip saddr @set', /"@set" is no address/],
  ['ip saddr != 0.0.0.0/0', /no packet is/],
  ['ip saddr { }', /an empty list/],
  ['ip saddr { 10.0.0.1 10.0.0.2 }', /expected "," or "}", found "10.0.0.2"/],
  ['ip saddr 10.0.0.1; drop', /"10.0.0.1;" is no address/],
  ['iifname "much-too-long-a-name"', /cannot be the name of an interface/],
  ['iifname *', /cannot be the name of an interface/],
  ['ether saddr 1:2', /is no hardware address/],
  ['meta oifname eth0', /found "oifname"/],
  ['meta mark x', /is no number of 32 bits/],
  ['meta mark 0x1ffffffff', /is no number of 32 bits/],
  ['meta l4proto 256', /is no protocol/],
  ['ct state old', /"old" is no state of a connection/],
  ['tcp sport 70000', /is no port or range of ports/],
  ['tcp sport 9-1', /is no port or range of ports/],
  ['tcp flags syn', /expected "sport" or "dport", found "flags"/],
  [`tcp sport {${Array.from({length: 65}, (_, i) => i).join()}}`, /make more than 64 rules/],
] as const)
  test(`refused: ${words.slice(0, 60)}`, refuses, words, problem);
