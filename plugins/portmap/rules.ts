import {shortHash} from '../../lib/cni/owner.ts';
import {ipBytes} from '../../lib/ip/address.ts';
import type {Family} from '../../lib/ip/address.ts';
import {formatCidr, parseCidr, subnetOf} from '../../lib/ip/cidr.ts';
import type {Cidr} from '../../lib/ip/cidr.ts';
import {ensureNatTable, table} from '../../lib/nat/table.ts';
import type {RuledChain} from '../../lib/nat/table.ts';
import {dnatByDestination, verdictOfDestination} from '../../lib/netlink/nft/key.ts';
import type {DestinationKey} from '../../lib/netlink/nft/key.ts';
import {portProtocols} from '../../lib/netlink/nft/match.ts';
import type {Operation} from '../../lib/netlink/nft/operation.ts';
import {ensureSet} from '../../lib/netlink/nft/set.ts';
import {
  masquerade,
  matchAddress,
  matchChangedDestination,
  matchInputInterfaceSet,
  matchLocalDestination,
  matchMarkBit,
  setMarkBit,
  verdict,
} from '../../lib/netlink/nft/statement.ts';
import type {Condition} from './conditions.ts';
import type {Forward} from './mapping.ts';

// Everything weft forwards ports with. As all of the table: an object's name stands for its content for ever.
//
//   table inet weft {
//     map portmap-hosts4 { type ipv4_addr . inet_proto . inet_service : verdict }         a host's address and port
//     map portmap-ports4 { type inet_proto . inet_service : verdict                        a port, whatever the address
//       elements = { tcp . 8080 comment "<owner>" : jump portmap-to-ports4-10.88.0.0/16 } }
//     map portmap-host-targets4 { type ipv4_addr . inet_proto . inet_service : ipv4_addr . inet_service }
//     map portmap-port-targets4 { type inet_proto . inet_service : ipv4_addr . inet_service
//       elements = { tcp . 8080 comment "<owner>" : 10.88.0.5 . 80 } }
//     …the same four with 6
//     set portmap-owners { type mark . mark }                  a hash of each attachment that has mappings
//     set portmap-interfaces { type ifname }                   where 127.0.0.1 may be routed to
//     chain portmap-local {                                    one look-up for each kind of key
//       ip daddr . meta l4proto . th dport vmap @portmap-hosts4
//       …
//     }
//     chain portmap-prerouting { type nat hook prerouting priority dstnat + 1; fib daddr type local goto portmap-local }
//     chain portmap-output     { type nat hook output priority -99; ip6 daddr ::1 return; fib daddr type local goto portmap-local }
//     chain portmap-postrouting {
//       type nat hook postrouting priority srcnat + 1
//       ct status dnat meta mark & 0x2000 == 0x2000 masquerade
//     }
//     chain portmap-martians {
//       type filter hook prerouting priority raw
//       ip daddr 127.0.0.0/8 iifname @portmap-interfaces drop
//       ip saddr 127.0.0.0/8 iifname @portmap-interfaces drop
//     }
//     chain portmap-to-ports4-10.88.0.0/16 {                   by its options: whom to masquerade
//       ip saddr 10.88.0.0/16 meta mark set meta mark | 0x2000
//       ip saddr 127.0.0.0/8 meta mark set meta mark | 0x2000
//       dnat ip to meta l4proto . th dport map @portmap-port-targets4
//     }
//     chain portmap-if-<hash> { ip saddr 192.0.2.0/24 jump portmap-to-ports4-10.88.0.0/16 }     "conditionsV4"
//   }

/** Where a mapping is looked up: by the host's address and port, or by the port alone. */
export type Kind = 'host' | 'port';

const addressTypes = {4: 'ipv4_addr', 6: 'ipv6_addr'} as const;

function keyType<F extends Family>(kind: Kind, family: F) {
  const ports = ['inet_proto', 'inet_service'] as const;
  return kind === 'host' ? ([addressTypes[family], ...ports] as const) : ports;
}

/** From a destination to the chain of its options. */
export function verdictMap(kind: Kind, family: Family) {
  return {...table, set: `portmap-${kind}s${family}`, key: keyType(kind, family), data: 'verdict'} as const;
}

/** From a destination to the container's address and port. */
export function targetMap(kind: Kind, family: Family) {
  const data = [addressTypes[family], 'inet_service'] as const;
  return {...table, set: `portmap-${kind}-targets${family}`, key: keyType(kind, family), data} as const;
}

/** Attachments that have mappings; so that a DEL which knows of none has to look at one element only. */
export const ownerSet = {...table, set: 'portmap-owners', key: ['mark', 'mark']} as const;

/** Interfaces through which containers are reached from 127.0.0.1. */
export const interfaceSet = {...table, set: 'portmap-interfaces', key: 'ifname'} as const;

/** The mark's bit that says "to be masqueraded": the reference's. */
const markBit = 1 << 13;

const kinds: readonly Kind[] = ['host', 'port'];
const families: readonly Family[] = [4, 6];

/** All maps of mappings. */
export const kindsAndFamilies = families.flatMap((family) => kinds.map((kind) => ({kind, family})));

const keyOf: Readonly<Record<Kind, DestinationKey>> = {host: 'address', port: 'port'};
const local: RuledChain = {
  ...table,
  chain: 'portmap-local',
  // The host's address first: it is the more specific.
  rules: kinds.flatMap((kind) =>
    families.map((family) => [verdictOfDestination(keyOf[kind], family, verdictMap(kind, family))]),
  ),
};

const toLocal = [matchLocalDestination(), verdict({kind: 'goto', chain: local.chain})];

// One behind what iptables, kube-proxy and the reference use: their rules win, as they do without us.
const afterDestinationNat = -99;
const afterSourceNat = 101;
// Before connection tracking changes anything: addresses are those on the wire.
const raw = -300;

const loopback = parseCidr('127.0.0.0/8')!;
// IPv6 has no route_localnet: an answer to ::1 is not let in on any link but lo. Better refused than never answered.
const loopback6 = parseCidr('::1/128')!;

/** The chains that every mapping needs, each after those it leads to. */
export const baseChains: readonly RuledChain[] = [
  local,
  {
    ...table,
    chain: 'portmap-prerouting',
    base: {type: 'nat', hook: 'prerouting', priority: afterDestinationNat},
    rules: [toLocal],
  },
  {
    ...table,
    chain: 'portmap-output',
    base: {type: 'nat', hook: 'output', priority: afterDestinationNat},
    rules: [[matchAddress('daddr', loopback6), verdict({kind: 'return'})], toLocal],
  },
  {
    ...table,
    chain: 'portmap-postrouting',
    base: {type: 'nat', hook: 'postrouting', priority: afterSourceNat},
    rules: [[matchChangedDestination(), matchMarkBit(markBit), masquerade()]],
  },
  {
    ...table,
    chain: 'portmap-martians',
    base: {type: 'filter', hook: 'prerouting', priority: raw},
    rules: (['daddr', 'saddr'] as const).map((field) => [
      matchAddress(field, loopback),
      matchInputInterfaceSet(interfaceSet),
      verdict({kind: 'drop'}),
    ]),
  },
];

/** The table, its sets and its maps, unless they are there. */
export function portmapTables(): Operation[] {
  const maps = kindsAndFamilies.flatMap(({kind, family}) => [
    verdictMap(kind, family),
    targetMap(kind, family),
  ]);
  return [
    ensureNatTable(),
    ...[...maps, ownerSet, interfaceSet].map((set, i) => ensureSet({...set, id: i + 1})),
  ];
}

/** What of a configuration decides about the chain of a mapping. */
export interface ForwardOptions {
  readonly snat: boolean;
  readonly masqAll: boolean;
  readonly conditions: Readonly<Record<Family, Condition | undefined>>;
}

/** Where the ports lead that iptables forwards, so that they are seen to be taken: nowhere. */
export const byIptables = {...table, chain: 'portmap-by-iptables'} as const;

const toPrefix = 'portmap-to-';
const ifPrefix = 'portmap-if-';

/** Whether a chain is one of those that `planChains` names, or leads nowhere: nobody needs it without an element. */
export function isOptionChain(name: string): boolean {
  return name.startsWith(toPrefix) || isConditionChain(name) || name === byIptables.chain;
}

/** Whether a chain only leads to others. */
export function isConditionChain(name: string): boolean {
  return name.startsWith(ifPrefix);
}

/** The chain that packets to a mapping go through, behind the one it leads to if it has conditions. */
export function planChains(
  forward: Forward,
  options: ForwardOptions,
): readonly [RuledChain, ...RuledChain[]] {
  const to = planTargetChain(forward, options);
  const condition = options.conditions[forward.family];
  if (!condition) return [to];
  const rules = condition.alternatives.map((statements) => [
    ...statements,
    verdict({kind: 'jump', chain: to.chain}),
  ]);
  const content = rules.map((rule) => rule.map(({text}) => text).join(' ')).join('\n');
  return [to, {...table, chain: `${ifPrefix}${shortHash(content)}`, rules}];
}

function planTargetChain({family, container, hostIp}: Forward, {snat, masqAll}: ForwardOptions): RuledChain {
  const kind = kindOf({hostIp});
  const mark = setMarkBit(markBit);
  const subnet = subnetOf(container);
  let option = 'direct';
  let marking: RuledChain['rules'] = [];
  if (snat && masqAll) {
    option = 'masqueraded';
    marking = [[mark]];
  } else if (snat) {
    // nft reads no colons in a name.
    option = formatCidr(subnet).replaceAll(':', '_');
    const from = family === 4 ? [subnet, loopback] : [subnet];
    marking = from.map((cidr) => [matchAddress('saddr', cidr), mark]);
  }
  return {
    ...table,
    chain: `${toPrefix}${kind}s${family}-${option}`,
    rules: [...marking, [dnatByDestination(keyOf[kind], family, targetMap(kind, family))]],
  };
}

/** The map in which a mapping is looked up. */
export function kindOf({hostIp}: Pick<Forward, 'hostIp'>): Kind {
  return hostIp ? 'host' : 'port';
}

/** The key of a mapping in its maps. */
export function keyOfMapping({
  hostIp,
  protocol,
  hostPort,
}: Pick<Forward, 'hostIp' | 'protocol' | 'hostPort'>): Buffer {
  const ports = Buffer.alloc(8);
  ports[0] = portProtocols[protocol];
  ports.writeUInt16BE(hostPort, 4);
  return hostIp ? Buffer.concat([ipBytes(hostIp), ports]) : ports;
}

/** What a target map says of a mapping. */
export function targetData({
  container,
  containerPort,
}: {
  readonly container: Cidr;
  readonly containerPort: number;
}): Buffer {
  const port = Buffer.alloc(4);
  port.writeUInt16BE(containerPort);
  return Buffer.concat([ipBytes(container.ip), port]);
}
