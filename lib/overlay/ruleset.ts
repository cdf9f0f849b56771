import {familyOf, type Family} from '../ip/address.ts';
import {formatCidr, sameCidr, type Cidr} from '../ip/cidr.ts';
import type {RuledChain} from '../nat/table.ts';
import type {Statement} from '../netlink/nft/rule.ts';
import {
  counter,
  matchAddress,
  matchInputInterface,
  matchLocalDestination,
  setMarkBit,
  verdict,
} from '../netlink/nft/statement.ts';
import {matchOutputInterface, matchSourceSet, matchVxlan, notrack} from '../netlink/nft/tunnel.ts';
import type {OverlayNetwork} from './member.ts';
import {planMasquerade} from './ruleset-masquerade.ts';
import type {Desired} from './state.ts';

// What an overlay network needs of nftables; a table of its own for each network, made and replaced as a whole.
//
//   table inet weft-overlay-pods {
//     set members4 { type ipv4_addr; elements = { 192.0.2.2, 192.0.2.3 } }
//     set members6 { type ipv6_addr; }
//     chain from-underlay {
//       ip saddr @members4 notrack accept
//       ip6 saddr @members6 notrack accept
//       fib daddr type local counter drop
//     }
//     chain prerouting {
//       type filter hook prerouting priority raw; policy accept;
//       udp dport 8472 @th,96,24 0x1 goto from-underlay
//     }
//     chain to-underlay { notrack }
//     chain output {
//       type filter hook output priority raw; policy accept;
//       udp dport 8472 @th,96,24 0x1 goto to-underlay
//     }
//     chain forward {
//       type filter hook forward priority filter - 1; policy accept;
//       ip saddr 10.244.0.0/16 ip daddr 10.9.0.0/16 drop
//       ip saddr 10.244.0.0/16 meta mark set mark | 0x1000
//       ip daddr 10.244.0.0/16 meta mark set mark | 0x1000
//     }
//     chain postrouting {
//       type nat hook postrouting priority srcnat + 2; policy accept;
//       meta mark & 0x4000 == 0x4000 return
//       ip saddr 10.244.1.0/24 ip daddr 10.244.0.0/16 return
//       ip saddr 10.244.1.0/24 ip daddr 224.0.0.0/4 return
//       ip saddr 10.244.1.0/24 meta l4proto udp masquerade to :8473-65535 fully-random
//       ip saddr 10.244.1.0/24 masquerade fully-random
//       ip saddr != 10.244.0.0/16 ip daddr 10.244.1.0/24 return
//       ip saddr != 10.244.0.0/16 ip daddr 10.244.0.0/16 meta l4proto udp masquerade to …
//       ip saddr != 10.244.0.0/16 ip daddr 10.244.0.0/16 masquerade fully-random
//     }
//   }

/** What this host wants of nftables for a network. */
export interface RulesetOptions {
  /** Takes VXLAN packets of this network from its members alone. */
  readonly filter: boolean;
  /** What containers send out of the network gets the host's address; `undefined` for no masquerading. */
  readonly masquerade?:
    | {
        /** Destinations beside the network itself that see the containers' own addresses. */
        readonly exempt?: readonly Cidr[] | undefined;
        /** Source ports are chosen at random (the default): two hosts behind one address do not collide. */
        readonly fullyRandom?: boolean | undefined;
      }
    | undefined;
  /** The bits of a packet's mark that the host's own FORWARD accepts (lib/nat/admission.ts). */
  readonly forwardMark?: number | undefined;
  /** Names of the devices that encrypt: VXLAN packets come and go through one of them, or not at all. */
  readonly through?: readonly string[] | undefined;
  /** Networks of this host that shall not reach this one, nor be reached from it. */
  readonly apartFrom?: readonly Pick<OverlayNetwork, 'name' | 'ranges'>[] | undefined;
}

/** A table with all it has but its elements. */
export interface Ruleset {
  readonly table: TableOf;
  /** Says what network it is for, and tells one that is older from this. */
  readonly comment: string;
  readonly sets: Readonly<Record<Family, MemberSet>>;
  /** Each after those it leads to. */
  readonly chains: readonly RuledChain[];
}

interface TableOf {
  readonly family: 'inet';
  readonly table: string;
}
interface MemberSet extends TableOf {
  readonly set: string;
  readonly key: 'ipv4_addr' | 'ipv6_addr';
}

const prefix = 'weft-overlay-';

/** The name of a network's table. */
export function rulesetTable(network: string): TableOf {
  return {family: 'inet', table: `${prefix}${network}`};
}

// linux/netfilter_ipv4.h: raw; filter, less one, so that FORWARD sees the mark; srcnat, behind everybody else's.
const priorities = {raw: -300, forward: -1, srcnat: 102};

type Rules = readonly (readonly Statement[])[];
const drop = verdict({kind: 'drop'});
const accept = verdict({kind: 'accept'});

/** The table for a network: pure. */
export function planRuleset(
  {network, devices, subnets}: Pick<Desired, 'network' | 'devices' | 'subnets'>,
  options: RulesetOptions,
): Ruleset {
  const table = rulesetTable(network.name);
  const sets = {
    4: {...table, set: 'members4', key: 'ipv4_addr'},
    6: {...table, set: 'members6', key: 'ipv6_addr'},
  } as const;
  const tunnel = matchVxlan(network);
  const chain = (name: string, rules: Rules, base?: RuledChain['base']): RuledChain[] =>
    rules.length === 0 ? [] : [{...table, chain: name, ...(base && {base}), rules}];
  const {filter, through} = options;
  const sources = filter ? [[matchSourceSet(4, sets[4])], [matchSourceSet(6, sets[6])]] : [[]];
  const inputs = through?.map((name) => [matchInputInterface(name)]) ?? [[]];
  const fromUnderlay: Rules = [
    ...inputs.flatMap((input) => sources.map((source) => [...input, ...source, notrack(), accept])),
    // What only passes through is none of our business.
    ...(filter || through ? [[matchLocalDestination(), counter(), drop]] : []),
  ];
  const toUnderlay: Rules = through
    ? [
        ...through.map((name) => [matchOutputInterface(name), notrack(), accept]),
        // In clear, if it went out.
        [counter(), drop],
      ]
    : [[notrack()]];
  const chains = [
    ...chain('from-underlay', fromUnderlay),
    ...chain('prerouting', [[tunnel, verdict({kind: 'goto', chain: 'from-underlay'})]], {
      type: 'filter',
      hook: 'prerouting',
      priority: priorities.raw,
    }),
    ...chain('to-underlay', toUnderlay),
    ...chain('output', [[tunnel, verdict({kind: 'goto', chain: 'to-underlay'})]], {
      type: 'filter',
      hook: 'output',
      priority: priorities.raw,
    }),
    ...chain(
      'forward',
      planForward(
        network,
        devices.map(({name}) => name),
        options,
      ),
      {
        type: 'filter',
        hook: 'forward',
        priority: priorities.forward,
      },
    ),
    ...chain(
      'postrouting',
      planMasquerade(network, network.form === 'l2' ? network.ranges : subnets, options),
      {
        type: 'nat',
        hook: 'postrouting',
        priority: priorities.srcnat,
      },
    ),
  ];
  const ranges = network.ranges.map(formatCidr).join(' ');
  return {table, comment: `weft overlay: VNI ${network.vni}, ${ranges}`, sets, chains};
}

/** Other networks are kept out, by their addresses and by the tunnel; the rest may pass the host's own firewall. */
function planForward(
  {name, ranges}: OverlayNetwork,
  devices: readonly string[],
  {forwardMark, apartFrom = []}: RulesetOptions,
): Rules {
  const others = apartFrom.filter((other) => other.name !== name).flatMap((other) => other.ranges);
  const apart = others
    .filter((other) => !ranges.some((own) => sameCidr(own, other)))
    .flatMap((other) => [
      ...ranges
        .filter(({ip}) => familyOf(ip) === familyOf(other.ip))
        .flatMap((own) => [
          [matchAddress('saddr', own), matchAddress('daddr', other), drop],
          [matchAddress('saddr', other), matchAddress('daddr', own), drop],
        ]),
      ...devices.flatMap((device) => [
        [matchInputInterface(device), matchAddress('daddr', other), drop],
        [matchOutputInterface(device), matchAddress('saddr', other), drop],
      ]),
    ]);
  if (forwardMark === undefined) return apart;
  return [
    ...apart,
    ...ranges.flatMap((own) => [
      [matchAddress('saddr', own), setMarkBit(forwardMark)],
      [matchAddress('daddr', own), setMarkBit(forwardMark)],
    ]),
  ];
}
