import test from 'ava';
import {readFileSync} from 'node:fs';
import {Writer} from '../../../../lib/netlink/writer.ts';
import {addChain, deleteChain, ensureChain} from '../../../../lib/netlink/nft/chain.ts';
import {addElements, deleteElements, ensureElements} from '../../../../lib/netlink/nft/element.ts';
import {cmpOps} from '../../../../lib/netlink/nft/expr/cmp.ts';
import {ctKeys, ctStates} from '../../../../lib/netlink/nft/expr/ct.ts';
import {fibFlags, fibResults} from '../../../../lib/netlink/nft/expr/fib.ts';
import {metaKeys} from '../../../../lib/netlink/nft/expr/meta.ts';
import {natTypes} from '../../../../lib/netlink/nft/expr/nat.ts';
import {
  dnatBySlot,
  matchOverLimit,
  matchSourceOverLimit,
  rejectAsUnreachable,
  rejectWithReset,
} from '../../../../lib/netlink/nft/balance.ts';
import {expressionNames} from '../../../../lib/netlink/nft/expression.ts';
import type {Expression} from '../../../../lib/netlink/nft/expression.ts';
import type {Operation} from '../../../../lib/netlink/nft/operation.ts';
import {addRule, deleteRule, flushChain, insertRule} from '../../../../lib/netlink/nft/rule.ts';
import type {Statement} from '../../../../lib/netlink/nft/rule.ts';
import {dnatByDestination, verdictOfDestination} from '../../../../lib/netlink/nft/key.ts';
import {
  compareAddressRange,
  compareConnectionState,
  compareInputInterface,
  compareMac,
  compareMark,
  comparePorts,
  compareProtocol,
  compareSubnet,
} from '../../../../lib/netlink/nft/match.ts';
import {deleteSet, ensureSet} from '../../../../lib/netlink/nft/set.ts';
import {
  masquerade,
  matchAddress,
  matchChangedDestination,
  matchInputInterface,
  matchInputInterfaceSet,
  matchMarkBit,
  matchSourceMac,
  redirectTo,
  setMarkBit,
  verdict,
  verdictOfAddress,
} from '../../../../lib/netlink/nft/statement.ts';
import {addTable, deleteTable, ensureTable} from '../../../../lib/netlink/nft/table.ts';
import {
  masqueradeAs,
  matchArrivedClear,
  matchLeavesClear,
  matchOutputInterface,
  matchSourceSet,
  matchVxlan,
  notrack,
} from '../../../../lib/netlink/nft/tunnel.ts';
import {ipBytes, parseIp} from '../../../../lib/ip/address.ts';
import {parseCidr} from '../../../../lib/ip/cidr.ts';

// What Debian's nft 1.0.6 sent for each command; test/fixtures/capture-nft.mjs made the file. Per message: type and
// flags, the family header, then one line per attribute, indented by depth.
const captures = JSON.parse(
  readFileSync(new URL('../../../fixtures/nft-captures.json', import.meta.url), 'utf8'),
) as Record<string, string[][]>;

const services = {family: 'inet', table: 'services'} as const;
const slots4 = {...services, set: 'slots4', key: 'integer', id: 4} as const;
const sources4 = {...services, set: 'sources4', key: 'ipv4_addr', id: 3} as const;
const weft = {family: 'inet', table: 'weft'} as const;
const target = {...weft, chain: 'target'};
const postrouting = {...weft, chain: 'postrouting'};
const other = {...weft, chain: 'other'};
const spare = {...weft, chain: 'spare'};
const addresses4 = {...weft, set: 'addresses4', key: 'ipv4_addr', data: 'verdict', id: 1} as const;
const addresses6 = {...weft, set: 'addresses6', key: 'ipv6_addr', data: 'verdict', id: 2} as const;
const bridge = {family: 'bridge', table: 'nat'} as const;
const comment = 'macspoofchk-c-eth0';

const ip = (text: string) => ipBytes(parseIp(text)!);
const to = (text: string) => matchAddress('daddr', parseCidr(text)!);
const back = verdict({kind: 'return'});
const accept = verdict({kind: 'accept'});
const raw = (...expressions: Expression[]) => ({text: '', expressions});
const equals = (value: Uint8Array): Expression => ({
  name: 'cmp',
  data: {sreg: 1, op: cmpOps.eq, value: {value}},
});
const u32 = (value: number) => Uint8Array.of(value, 0, 0, 0);

const owners = {...weft, id: 4, set: 'owners', key: ['mark', 'mark']} as const;
const interfaces = {...weft, id: 5, set: 'interfaces', key: 'ifname'} as const;
const ports4 = {...weft, id: 6, set: 'ports4', key: ['inet_proto', 'inet_service'], data: 'verdict'} as const;
const hosts6 = {
  ...weft,
  id: 7,
  set: 'hosts6',
  key: ['ipv6_addr', 'inet_proto', 'inet_service'],
  data: 'verdict',
} as const;
const targets4 = {...ports4, id: 8, set: 'targets4', data: ['ipv4_addr', 'inet_service']} as const;
const targets6 = {...hosts6, id: 9, set: 'targets6', data: ['ipv6_addr', 'inet_service']} as const;
const loopback = parseCidr('127.0.0.0/8')!;
const port = (number: number) => Buffer.from([number >> 8, number & 255, 0, 0]);
const key = (protocol: number, number: number) =>
  Buffer.concat([Buffer.from([protocol, 0, 0, 0]), port(number)]);
/** Rules of chain "spare", by what they say. */
const spareRules = (rules: Readonly<Record<string, readonly Statement[]>>) =>
  Object.fromEntries(
    Object.entries(rules).map(([text, statements]) => [
      `add rule inet weft spare ${text}`,
      addRule({...spare, statements}),
    ]),
  );

const tunnel = {family: 'inet', table: 'tunnel'} as const;
const tunnelMembers = {...tunnel, id: 1, set: 'members', key: 'ipv6_addr'} as const;
/** Rules of that table, by chain and what they say. */
const tunnelRules = (rules: Readonly<Record<string, readonly Statement[]>>) =>
  Object.fromEntries(
    Object.entries(rules).map(([text, statements]) => [
      `add rule inet tunnel ${text}`,
      addRule({...tunnel, chain: text.split(' ')[0]!, statements}),
    ]),
  );

const serviceRules = (rules: Readonly<Record<string, readonly Statement[]>>) =>
  Object.fromEntries(
    Object.entries(rules).map(([text, statements]) => [
      `add rule inet services shop ${text}`,
      addRule({...services, chain: 'shop', statements}),
    ]),
  );

const operations: Record<string, Operation> = {
  'add table inet weft { comment "NAT" ; }': ensureTable({...weft, comment: 'NAT'}),
  'create table ip6 six': addTable({family: 'ip6', table: 'six'}),
  'add map inet weft addresses4 { type ipv4_addr : verdict ; }': ensureSet({...addresses4, id: 1}),
  'add map inet weft addresses6 { type ipv6_addr : verdict ; }': ensureSet({...addresses6, id: 1}),
  'add set inet weft plain { type ipv4_addr ; comment "hi" ; }': ensureSet({
    ...weft,
    set: 'plain',
    key: 'ipv4_addr',
    id: 1,
    comment: 'hi',
  }),
  'add chain inet weft target { comment "why" ; }': ensureChain({...target, comment: 'why'}),
  'create chain inet weft other': addChain(other),
  'add chain inet weft postrouting { type nat hook postrouting priority 101 ; policy accept ; }': ensureChain(
    {
      ...postrouting,
      base: {type: 'nat', hook: 'postrouting', priority: 101},
    },
  ),
  'add rule inet weft postrouting ip daddr 224.0.0.0/4 return': addRule({
    ...postrouting,
    statements: [to('224.0.0.0/4'), back],
  }),
  'add rule inet weft postrouting ip daddr 10.1.0.0/16 return': addRule({
    ...postrouting,
    statements: [to('10.1.0.0/16'), back],
  }),
  'add rule inet weft postrouting ip daddr 10.1.2.3 return': addRule({
    ...postrouting,
    statements: [to('10.1.2.3/32'), back],
  }),
  'add rule inet weft postrouting ip6 daddr ff00::/8 return': addRule({
    ...postrouting,
    statements: [to('ff00::/8'), back],
  }),
  'add rule inet weft postrouting ip6 daddr fd00:1::/61 return': addRule({
    ...postrouting,
    statements: [to('fd00:1::/61'), back],
  }),
  'add rule inet weft postrouting ip saddr vmap @addresses4': addRule({
    ...postrouting,
    statements: [verdictOfAddress('saddr', 4, addresses4)],
  }),
  'add rule inet weft postrouting ip6 saddr vmap @addresses6': addRule({
    ...postrouting,
    statements: [verdictOfAddress('saddr', 6, addresses6)],
  }),
  'add rule inet weft target counter masquerade comment "the last"': addRule({
    ...target,
    statements: [raw({name: 'counter', data: {}}), masquerade()],
    comment: 'the last',
  }),
  'insert rule inet weft target meta mark 0x10 accept': insertRule({
    ...target,
    statements: [raw({name: 'meta', data: {key: metaKeys.mark, dreg: 1}}, equals(u32(16))), accept],
  }),
  'add rule inet weft target ct state established,related accept': addRule({
    ...target,
    statements: [
      raw(
        {name: 'ct', data: {key: ctKeys.state, dreg: 1}},
        {
          name: 'bitwise',
          data: {
            sreg: 1,
            dreg: 1,
            length: 4,
            mask: {value: u32(ctStates.established | ctStates.related)},
            xor: {value: u32(0)},
          },
        },
        {name: 'cmp', data: {sreg: 1, op: cmpOps.neq, value: {value: u32(0)}}},
      ),
      accept,
    ],
  }),
  'add chain inet weft spare': ensureChain(spare),
  'add rule inet weft spare fib daddr type local jump other': addRule({
    ...spare,
    statements: [
      raw(
        {name: 'fib', data: {flags: fibFlags.daddr, result: fibResults.addressType, dreg: 1}},
        equals(u32(2)),
      ),
      verdict({kind: 'jump', chain: 'other'}),
    ],
  }),
  'add rule inet weft spare meta nfproto ipv4 dnat ip to 10.0.0.2': addRule({
    ...spare,
    statements: [
      raw(
        {name: 'meta', data: {key: metaKeys.nfproto, dreg: 1}},
        equals(Uint8Array.of(2)),
        {name: 'immediate', data: {dreg: 1, data: {value: ip('10.0.0.2')}}},
        {name: 'nat', data: {type: natTypes.dnat, family: 2, addressMin: 1}},
      ),
    ],
  }),
  'add element inet weft addresses4 { 10.1.0.5 comment "owner" : goto target }': ensureElements(addresses4, [
    {key: ip('10.1.0.5'), verdict: {kind: 'goto', chain: 'target'}, comment: 'owner'},
  ]),
  'add element inet weft addresses6 { fd00:1::5 : goto target }': ensureElements(addresses6, [
    {key: ip('fd00:1::5'), verdict: {kind: 'goto', chain: 'target'}},
  ]),
  'create element inet weft addresses4 { 10.1.0.6 : goto target, 10.1.0.7 : jump target }': addElements(
    addresses4,
    [
      {key: ip('10.1.0.6'), verdict: {kind: 'goto', chain: 'target'}},
      {key: ip('10.1.0.7'), verdict: {kind: 'jump', chain: 'target'}},
    ],
  ),
  'add set inet weft owners { type mark . mark ; }': ensureSet({...owners, id: 1}),
  'add set inet weft interfaces { type ifname ; }': ensureSet({...interfaces, id: 1}),
  'add map inet weft ports4 { type inet_proto . inet_service : verdict ; }': ensureSet({...ports4, id: 1}),
  'add map inet weft hosts6 { type ipv6_addr . inet_proto . inet_service : verdict ; }': ensureSet({
    ...hosts6,
    id: 1,
  }),
  'add map inet weft targets4 { type inet_proto . inet_service : ipv4_addr . inet_service ; }': ensureSet({
    ...targets4,
    id: 1,
  }),
  'add map inet weft targets6 { type ipv6_addr . inet_proto . inet_service : ipv6_addr . inet_service ; }':
    ensureSet({...targets6, id: 1}),
  'create element inet weft ports4 { tcp . 8080 comment "owner" : jump target }': addElements(ports4, [
    {key: key(6, 8080), verdict: {kind: 'jump', chain: 'target'}, comment: 'owner'},
  ]),
  'create element inet weft targets4 { udp . 53 comment "owner" : 10.0.0.2 . 5353 }': addElements(targets4, [
    {key: key(17, 53), data: Buffer.concat([ip('10.0.0.2'), port(5353)]), comment: 'owner'},
  ]),
  'create element inet weft targets6 { 2001:db8::1 . sctp . 80 : fd00::2 . 8080 }': addElements(targets6, [
    {
      key: Buffer.concat([ip('2001:db8::1'), key(132, 80)]),
      data: Buffer.concat([ip('fd00::2'), port(8080)]),
    },
  ]),
  'create element inet weft owners { 0x12345678 . 0x9abcdef0 comment "owner" }': addElements(owners, [
    {key: Buffer.from('78563412f0debc9a', 'hex'), comment: 'owner'},
  ]),
  'add element inet weft interfaces { "cni0" }': ensureElements(interfaces, [
    {key: Buffer.from('cni0'.padEnd(16, '\0'))},
  ]),
  ...spareRules({
    'meta nfproto ipv4 meta l4proto . th dport vmap @ports4': [verdictOfDestination('port', 4, ports4)],
    'ip6 daddr . meta l4proto . th dport vmap @hosts6': [verdictOfDestination('address', 6, hosts6)],
    'meta nfproto ipv4 dnat ip to meta l4proto . th dport map @targets4': [
      dnatByDestination('port', 4, targets4),
    ],
    'dnat ip6 to ip6 daddr . meta l4proto . th dport map @targets6': [
      dnatByDestination('address', 6, targets6),
    ],
    'ct status dnat meta mark & 0x2000 == 0x2000 masquerade': [
      matchChangedDestination(),
      matchMarkBit(0x2000),
      masquerade(),
    ],
    'ip saddr 127.0.0.0/8 meta mark set meta mark | 0x2000': [
      matchAddress('saddr', loopback),
      setMarkBit(0x2000),
    ],
    'ip daddr 127.0.0.0/8 iifname @interfaces drop': [
      matchAddress('daddr', loopback),
      matchInputInterfaceSet(interfaces),
      verdict({kind: 'drop'}),
    ],
    'ip saddr != 10.0.0.0/8 accept': [compareSubnet('saddr', '!=', parseCidr('10.1.2.3/8')!), accept],
    'ip saddr != 10.0.0.0/9 accept': [compareSubnet('saddr', '!=', parseCidr('10.0.0.0/9')!), accept],
    'ip6 daddr != 2001:db8::1 accept': [compareSubnet('daddr', '!=', parseCidr('2001:db8::1/128')!), accept],
    'ip saddr != 10.0.0.1-10.0.0.9 accept': [
      compareAddressRange('saddr', '!=', {first: parseIp('10.0.0.1')!, last: parseIp('10.0.0.9')!}),
      accept,
    ],
    'iifname != "eth0" accept': [compareInputInterface('!=', 'eth0'), accept],
    'iifname "eth*" accept': [compareInputInterface('==', 'eth*'), accept],
    'ether saddr 02:00:00:00:00:01 accept': [compareMac('saddr', '==', '02:00:00:00:00:01'), accept],
    'meta mark & 0xff != 0x3 accept': [compareMark('meta', '!=', {value: 3, mask: 0xff}), accept],
    'ct mark 0x7 accept': [compareMark('ct', '==', {value: 7}), accept],
    'ct state new,established accept': [compareConnectionState('==', ['new', 'established']), accept],
    'ct state != new accept': [compareConnectionState('!=', ['new']), accept],
    'meta l4proto != udp accept': [compareProtocol('!=', 'udp'), accept],
    'tcp sport 1024 accept': [comparePorts('tcp', {field: 'sport', first: 1024}, '=='), accept],
    'th dport != 1-1023 accept': [comparePorts('th', {field: 'dport', first: 1, last: 1023}, '!='), accept],
  }),
  'delete element inet weft addresses4 { 10.1.0.5 }': deleteElements(addresses4, [ip('10.1.0.5')]),
  'flush chain inet weft other': flushChain(other),
  'delete rule inet weft target handle 16': deleteRule(target, 16n),
  'flush chain inet weft postrouting': flushChain(postrouting),
  'delete map inet weft addresses6': deleteSet(addresses6),
  'delete chain inet weft postrouting': deleteChain(postrouting),
  'delete table inet weft': deleteTable(weft),
  'add table bridge nat': ensureTable(bridge),
  'add chain bridge nat PREROUTING { type filter hook prerouting priority -300 ; policy accept ; }':
    ensureChain({
      ...bridge,
      chain: 'PREROUTING',
      base: {type: 'filter', hook: 'prerouting', priority: -300},
    }),
  'add chain bridge nat mac': ensureChain({...bridge, chain: 'mac'}),
  'add rule bridge nat mac ether saddr 02:00:00:00:00:01 return comment "macspoofchk-c-eth0"': addRule({
    ...bridge,
    chain: 'mac',
    statements: [matchSourceMac('02:00:00:00:00:01'), back],
    comment,
  }),
  'add rule bridge nat mac drop comment "macspoofchk-c-eth0"': addRule({
    ...bridge,
    chain: 'mac',
    statements: [verdict({kind: 'drop'})],
    comment,
  }),
  'add rule bridge nat PREROUTING iifname "veth1234" jump mac comment "macspoofchk-c-eth0"': addRule({
    ...bridge,
    chain: 'PREROUTING',
    statements: [matchInputInterface('veth1234'), verdict({kind: 'jump', chain: 'mac'})],
    comment,
  }),
  'add table inet tunnel': ensureTable(tunnel),
  'add set inet tunnel members { type ipv6_addr ; }': ensureSet({...tunnelMembers, id: 1}),
  'add chain inet tunnel raw { type filter hook prerouting priority -300 ; policy accept ; }': ensureChain({
    ...tunnel,
    chain: 'raw',
    base: {type: 'filter', hook: 'prerouting', priority: -300},
  }),
  'add chain inet tunnel nat { type nat hook postrouting priority 102 ; policy accept ; }': ensureChain({
    ...tunnel,
    chain: 'nat',
    base: {type: 'nat', hook: 'postrouting', priority: 102},
  }),
  'add chain inet tunnel redirected { type nat hook prerouting priority -100 ; policy accept ; }':
    ensureChain({
      ...tunnel,
      chain: 'redirected',
      base: {type: 'nat', hook: 'prerouting', priority: -100},
    }),
  ...tunnelRules({
    'raw udp dport 8472 @th,96,24 0x2a notrack': [matchVxlan({port: 8472, vni: 42}), notrack()],
    'raw ip6 saddr @members accept': [matchSourceSet(6, tunnelMembers), accept],
    'raw meta ipsec missing counter drop': [
      matchArrivedClear(),
      raw({name: 'counter', data: {}}),
      verdict({kind: 'drop'}),
    ],
    'raw oifname "eth*" drop': [matchOutputInterface('eth*'), verdict({kind: 'drop'})],
    'nat rt ipsec missing drop': [matchLeavesClear(), verdict({kind: 'drop'})],
    'nat meta l4proto udp masquerade to :8473-65535': [
      compareProtocol('==', 'udp'),
      masqueradeAs({ports: {first: 8473, last: 65_535}}),
    ],
    'nat meta l4proto udp masquerade to :8473-65535 fully-random': [
      compareProtocol('==', 'udp'),
      masqueradeAs({ports: {first: 8473, last: 65_535}, fullyRandom: true}),
    ],
    'nat masquerade fully-random': [masqueradeAs({fullyRandom: true})],
    'redirected meta l4proto udp redirect to :5353': [compareProtocol('==', 'udp'), redirectTo(5353)],
  }),
  'add table inet services': ensureTable(services),
  'add map inet services kept6 { type ipv6_addr : ipv6_addr . inet_service ; size 65535 ; flags dynamic,timeout ; timeout 60000ms ; }':
    ensureSet({
      ...services,
      set: 'kept6',
      key: 'ipv6_addr',
      data: ['ipv6_addr', 'inet_service'],
      id: 1,
      dynamic: {size: 65_535, timeoutMs: 60_000},
    }),
  'add set inet services sources4 { type ipv4_addr ; size 65535 ; flags dynamic,timeout ; timeout 60000ms ; }':
    ensureSet({...sources4, id: 1, dynamic: {size: 65_535, timeoutMs: 60_000}}),
  'add chain inet services shop': ensureChain({...services, chain: 'shop'}),
  ...serviceRules({
    'update @sources4 { ip saddr limit rate over 5/second burst 7 packets } drop': [
      matchSourceOverLimit(4, sources4, {perSecond: 5, burst: 7}),
      verdict({kind: 'drop'}),
    ],
    'limit rate over 100/second burst 50 packets drop': [
      matchOverLimit({perSecond: 100, burst: 50}),
      verdict({kind: 'drop'}),
    ],
    'meta l4proto tcp reject with tcp reset': [compareProtocol('==', 'tcp'), rejectWithReset()],
    'reject with icmpx port-unreachable': [rejectAsUnreachable()],
    'meta l4proto tcp meta nfproto ipv4 dnat ip to numgen inc mod 3 map @slots4': [
      compareProtocol('==', 'tcp'),
      dnatBySlot(4, {by: 'inc', slots: 3}, slots4),
    ],
    'meta l4proto tcp meta nfproto ipv4 dnat ip to numgen random mod 3 map @slots4': [
      compareProtocol('==', 'tcp'),
      dnatBySlot(4, {by: 'random', slots: 3}, slots4),
    ],
    'meta l4proto tcp meta nfproto ipv4 dnat ip to jhash ip saddr mod 251 seed 0x77656674 map @slots4': [
      compareProtocol('==', 'tcp'),
      dnatBySlot(4, {by: 'source', slots: 251}, slots4),
    ],
  }),
};

/** An attribute of a capture: its number, then its bytes or its own attributes. */
type Attribute = readonly [type: string, value: string | readonly Attribute[]];

/**
 * The attributes of captured lines, in an order that does not matter to the kernel: by number, except members of a list,
 * which all have the same number or count up.
 */
function tree(lines: readonly string[], depth = 0): Attribute[] {
  const out: Attribute[] = [];
  const indent = '  '.repeat(depth);
  for (let i = 0; i < lines.length;) {
    const line = lines[i]!.slice(indent.length);
    let end = i + 1;
    while (end < lines.length && lines[end]!.startsWith(`${indent}  `)) end++;
    const [head = '', value] = line.split(' ');
    // A nest without its length, which its members give.
    out.push(value === undefined ? [head.slice(4), tree(lines.slice(i + 1, end), depth + 1)] : [head, value]);
    i = end;
  }
  const number = ([head]: Attribute) => head.slice(-4);
  return out
    .filter((attribute) => !isDefaultOperation(attribute, out))
    .sort((a, b) => (number(a) < number(b) ? -1 : number(a) > number(b) ? 1 : 0));
}

/** Of a bitwise expression with mask and xor nft says that it is one, in some releases and places. */
function isDefaultOperation([head, value]: Attribute, siblings: readonly Attribute[]): boolean {
  const has = (type: string) => siblings.some(([other]) => other === type);
  return head === '08000600' && value === '00000000' && has('0480') && has('0580');
}

function lines(bytes: Buffer, depth = 0): string[] {
  const out: string[] = [];
  for (let at = 0; at < bytes.length;) {
    const length = bytes.readUInt16LE(at);
    const end = (at + length + 3) & ~3;
    const head = '  '.repeat(depth) + bytes.toString('hex', at, at + 4);
    if ((bytes[at + 3]! & 0x80) === 0) out.push(`${head} ${bytes.toString('hex', at + 4, end)}`);
    else out.push(head, ...lines(bytes.subarray(at + 4, at + length), depth + 1));
    at = end;
  }
  return out;
}

for (const [command, operation] of Object.entries(operations)) {
  test(`what nft sends is what we send: ${command}`, (t) => {
    const messages = captures[command];
    t.truthy(messages, 'the command is among the captures');
    t.is(messages!.length, 1);
    const [head = '', family = '', ...attributes] = messages![0]!;
    const expected = Buffer.from(head, 'hex');
    const w = new Writer();
    operation.put(w);
    t.is(operation.message, expected[0]!);
    // nft leaves NLM_F_CREATE out where the kernel does not look at it.
    t.is(operation.flags & ~0x400, ((expected[2]! | (expected[3]! << 8)) - 1) & ~0x400);
    t.is(operation.family, Number.parseInt(family.slice(0, 2), 16));
    const written = lines(Buffer.from(w.bytes()));
    t.deepEqual(tree(written), tree(attributes));
  });
}

test('every captured command is compared', (t) => {
  t.deepEqual(Object.keys(operations).sort(), Object.keys(captures).sort());
});

test('every expression occurs in a captured rule, except what only iptables-nft writes', (t) => {
  const seen = new Set<string>();
  const names = [...expressionNames].sort((a, b) => b.length - a.length);
  for (const line of Object.values(captures).flat(2)) {
    const value = /^\s+....0100 (.*)$/.exec(line)?.[1];
    const text = value === undefined ? '' : Buffer.from(value, 'hex').toString().replaceAll('\0', '');
    const name = names.find((each) => each === text);
    if (name) seen.add(name);
  }
  t.deepEqual(
    expressionNames.filter((name) => !seen.has(name)),
    ['match'],
  );
});
