import test from 'ava';
import {parseIp} from '../../../lib/ip/address.ts';
import {parseCidr} from '../../../lib/ip/cidr.ts';
import {chainOperations} from '../../../lib/nat/table.ts';
import {addElements} from '../../../lib/netlink/nft/element.ts';
import {formatOperations} from '../../../lib/netlink/nft/operation.ts';
import {parseConditions} from '../../../plugins/portmap/conditions.ts';
import {planEntries} from '../../../plugins/portmap/forward.ts';
import type {Forward} from '../../../plugins/portmap/mapping.ts';
import {baseChains, planChains, portmapTables} from '../../../plugins/portmap/rules.ts';
import type {ForwardOptions} from '../../../plugins/portmap/rules.ts';

const web: Forward = {
  family: 4,
  protocol: 'tcp',
  hostPort: 8080,
  containerPort: 80,
  hostIp: undefined,
  container: parseCidr('10.88.0.5/16')!,
};
const web6: Forward = {
  ...web,
  family: 6,
  hostIp: parseIp('2001:db8::1'),
  container: parseCidr('fd00:88::5/64')!,
};
const options: ForwardOptions = {snat: true, masqAll: false, conditions: {4: undefined, 6: undefined}};
const chains = (forward: Forward, more: Partial<ForwardOptions> = {}) =>
  formatOperations(planChains(forward, {...options, ...more}).flatMap(chainOperations));

// Processes of an older and a newer release work on one table at the same time: what has a name keeps its content. A
// change here needs another name.
test('the objects of the first release stay as they are', (t) => {
  t.is(
    formatOperations([...portmapTables(), ...baseChains.flatMap(chainOperations)]),
    `add table inet weft { comment "NAT of containers, made by weft" ; }
add map inet weft portmap-hosts4 { type ipv4_addr . inet_proto . inet_service : verdict ; }
add map inet weft portmap-host-targets4 { type ipv4_addr . inet_proto . inet_service : ipv4_addr . inet_service ; }
add map inet weft portmap-ports4 { type inet_proto . inet_service : verdict ; }
add map inet weft portmap-port-targets4 { type inet_proto . inet_service : ipv4_addr . inet_service ; }
add map inet weft portmap-hosts6 { type ipv6_addr . inet_proto . inet_service : verdict ; }
add map inet weft portmap-host-targets6 { type ipv6_addr . inet_proto . inet_service : ipv6_addr . inet_service ; }
add map inet weft portmap-ports6 { type inet_proto . inet_service : verdict ; }
add map inet weft portmap-port-targets6 { type inet_proto . inet_service : ipv6_addr . inet_service ; }
add set inet weft portmap-owners { type mark . mark ; }
add set inet weft portmap-interfaces { type ifname ; }
create chain inet weft portmap-local
add rule inet weft portmap-local ip daddr . meta l4proto . th dport vmap @portmap-hosts4
add rule inet weft portmap-local ip6 daddr . meta l4proto . th dport vmap @portmap-hosts6
add rule inet weft portmap-local meta nfproto ipv4 meta l4proto . th dport vmap @portmap-ports4
add rule inet weft portmap-local meta nfproto ipv6 meta l4proto . th dport vmap @portmap-ports6
create chain inet weft portmap-prerouting { type nat hook prerouting priority -99 ; policy accept ; }
add rule inet weft portmap-prerouting fib daddr type local goto portmap-local
create chain inet weft portmap-output { type nat hook output priority -99 ; policy accept ; }
add rule inet weft portmap-output ip6 daddr ::1 return
add rule inet weft portmap-output fib daddr type local goto portmap-local
create chain inet weft portmap-postrouting { type nat hook postrouting priority 101 ; policy accept ; }
add rule inet weft portmap-postrouting ct status dnat meta mark & 0x00002000 == 0x00002000 masquerade
create chain inet weft portmap-martians { type filter hook prerouting priority -300 ; policy accept ; }
add rule inet weft portmap-martians ip daddr 127.0.0.0/8 iifname @portmap-interfaces drop
add rule inet weft portmap-martians ip saddr 127.0.0.0/8 iifname @portmap-interfaces drop
`,
  );
});

test('a chain is named by what it does', (t) => {
  t.is(
    chains(web),
    `create chain inet weft portmap-to-ports4-10.88.0.0/16
add rule inet weft portmap-to-ports4-10.88.0.0/16 ip saddr 10.88.0.0/16 meta mark set meta mark | 0x00002000
add rule inet weft portmap-to-ports4-10.88.0.0/16 ip saddr 127.0.0.0/8 meta mark set meta mark | 0x00002000
add rule inet weft portmap-to-ports4-10.88.0.0/16 meta nfproto ipv4 dnat ip to meta l4proto . th dport map @portmap-port-targets4
`,
  );
  t.is(
    chains(web6),
    `create chain inet weft portmap-to-hosts6-fd00_88__/64
add rule inet weft portmap-to-hosts6-fd00_88__/64 ip6 saddr fd00:88::/64 meta mark set meta mark | 0x00002000
add rule inet weft portmap-to-hosts6-fd00_88__/64 dnat ip6 to ip6 daddr . meta l4proto . th dport map @portmap-host-targets6
`,
  );
  t.is(
    chains(web, {masqAll: true}),
    `create chain inet weft portmap-to-ports4-masqueraded
add rule inet weft portmap-to-ports4-masqueraded meta mark set meta mark | 0x00002000
add rule inet weft portmap-to-ports4-masqueraded meta nfproto ipv4 dnat ip to meta l4proto . th dport map @portmap-port-targets4
`,
  );
  const direct = `create chain inet weft portmap-to-ports4-direct
add rule inet weft portmap-to-ports4-direct meta nfproto ipv4 dnat ip to meta l4proto . th dport map @portmap-port-targets4
`;
  t.is(chains(web, {snat: false}), direct);
  t.is(chains(web, {snat: false, masqAll: true}), direct);
});

test('conditions are a chain in front, named by what they say', (t) => {
  const conditions = {
    4: parseConditions('conditionsV4', ['ip saddr { 192.0.2.1, 192.0.2.2 }']),
    6: undefined,
  };
  const [name = '', ...others] = new Set(
    chains(web, {snat: false, conditions}).match(/portmap-if-[0-9a-f]{16}/g),
  );
  t.deepEqual(others, []);
  t.is(
    chains(web, {snat: false, conditions}).split('\n').slice(2).join('\n'),
    `create chain inet weft ${name}
add rule inet weft ${name} ip saddr 192.0.2.1 jump portmap-to-ports4-direct
add rule inet weft ${name} ip saddr 192.0.2.2 jump portmap-to-ports4-direct
`,
  );
  t.notRegex(chains(web6, {conditions}), /portmap-if/);
  const otherwise = {4: parseConditions('conditionsV4', ['ip saddr 192.0.2.1']), 6: undefined};
  t.notRegex(chains(web, {snat: false, conditions: otherwise}), new RegExp(name));
});

test('the elements of an attachment', (t) => {
  const owner = {network: 'mynet', containerId: 'cid1', ifName: 'eth0'};
  const wanted = {...options, owner, forwards: [web, web6], device: 'veth0', localInterface: 'cni0'};
  const {entries, emptyChains} = planEntries(wanted);
  t.deepEqual(
    emptyChains.map(({chain}) => chain),
    ['portmap-taken6-tcp-8080'],
  );
  const tag = 'd23676b4f2d9fe04-0b65a318f52e521b';
  const names = 'dev: veth0, net: mynet, if: eth0, id: cid1';
  t.deepEqual(
    formatOperations(entries.map(({map, element}) => addElements(map, [element])))
      .trim()
      .split('\n')
      .map((line) =>
        line.replace('create element inet weft ', '').replaceAll(tag, '<key>').replaceAll(names, '<names>'),
      ),
    [
      'portmap-ports4 { 6 . 8080 comment "<key>, <names>" : jump portmap-to-ports4-10.88.0.0/16 }',
      'portmap-port-targets4 { 6 . 8080 comment "<key>, <names>" : 10.88.0.5 . 80 }',
      'portmap-hosts6 { 2001:db8::1 . 6 . 8080 comment "<key>, <names>" : jump portmap-to-hosts6-fd00_88__/64 }',
      'portmap-host-targets6 { 2001:db8::1 . 6 . 8080 comment "<key>, <names>" : fd00:88::5 . 80 }',
      'portmap-host-claims6 { 2001:db8::1 . 6 . 8080 comment "<key>, <names>" : jump portmap-taken6-tcp-8080 }',
      'portmap-ports6 { 6 . 8080 : jump portmap-taken6-tcp-8080 }',
      'portmap-owners { 0xea1d50a0 . 0x00000000 comment "<key>, ports: 2, <names>" }',
      'portmap-interfaces { "cni0" }',
    ].map((line, i, all) => (i === 6 ? formatOwner(all, entries) : line)),
  );
});

/** The owner's key is a hash; its form is what counts. */
function formatOwner(all: readonly string[], entries: ReturnType<typeof planEntries>['entries']): string {
  const key = Buffer.from(entries[6]!.element.key);
  const part = (at: number) => `0x${key.readUInt32LE(at).toString(16).padStart(8, '0')}`;
  return all[6]!.replace(/0x\S+ \. 0x\S+/, `${part(0)} . ${part(4)}`);
}
