import type {Family} from '../../lib/ip/address.ts';
import type {RuledChain} from '../../lib/nat/table.ts';
import {ensureChain} from '../../lib/netlink/nft/chain.ts';
import type {Operation} from '../../lib/netlink/nft/operation.ts';
import {ensureSet} from '../../lib/netlink/nft/set.ts';
import {
  matchChangedDestination,
  setMarkBit,
  verdict,
  verdictOfAddress,
} from '../../lib/netlink/nft/statement.ts';
import {ensureTable} from '../../lib/netlink/nft/table.ts';
import type {Policy} from './conf.ts';
import {matchInterfaceSet, matchReturnTraffic, verdictOfInterfaces} from './statements.ts';

// Everything the nftables backend makes. An object's name stands for its content for ever: a release that needs other rules
// takes other names.
//
//   table inet weft-firewall {
//     map containers4 { type ipv4_addr : verdict; elements = { 10.88.0.5 comment "<owner>" : goto admit-0x1000 } }
//     map containers6 { … }
//     map members4 { type ipv4_addr : verdict; elements = { 10.88.0.5 comment "<owner>" : jump isolated-br0 } }
//     map members6 { … }
//     map bridge-pairs { type ifname . ifname : verdict; elements = { "br0" . "br0" : drop } }
//     set bridges { type ifname; elements = { "br0" } }
//     chain forward {
//       type filter hook forward priority filter - 1; policy accept;
//       jump admin
//       jump policy
//       ip saddr vmap @containers4
//       ip6 saddr vmap @containers6
//       ct state established,related jump to-containers
//       ct status dnat jump to-containers
//     }
//     chain to-containers { ip daddr vmap @containers4; ip6 daddr vmap @containers6 }
//     chain admin { jump CNI-ADMIN }
//     chain CNI-ADMIN { }
//     chain policy {
//       iifname . oifname vmap @bridge-pairs
//       iifname @bridges oifname @bridges drop
//     }
//     chain admit-0x1000 { meta mark set mark | 0x1000; accept }
//     chain isolated-br0 { }
//   }
//   table bridge weft-firewall {
//     set isolated-ports { type ifname; elements = { "veth01234567" comment "<owner>" } }
//     chain forward {
//       type filter hook forward priority filter; policy accept;
//       iifname @isolated-ports drop
//       oifname @isolated-ports drop
//     }
//   }
//
// No rule looks into members4 and members6, and nothing is in the chains they lead to: the kernel counts what leads to a
// chain, so that the last container of a bridge is known without a list of the others.

/** The table of the firewall; NAT has another, so that one can be flushed without the other. */
export const table = {family: 'inet', table: 'weft-firewall'} as const;

/** From the address of a container to the chain that admits its packets. */
export const containers = {
  4: {...table, set: 'containers4', key: 'ipv4_addr', data: 'verdict'},
  6: {...table, set: 'containers6', key: 'ipv6_addr', data: 'verdict'},
} as const;

/** From the address of a container to the chain that stands for the policy of its bridge. */
export const members = {
  4: {...table, set: 'members4', key: 'ipv4_addr', data: 'verdict'},
  6: {...table, set: 'members6', key: 'ipv6_addr', data: 'verdict'},
} as const;

/** What happens between the containers of one bridge; a bridge that is not there is open. */
export const bridgePairs = {
  ...table,
  set: 'bridge-pairs',
  key: ['ifname', 'ifname'],
  data: 'verdict',
} as const;

/** Bridges whose containers are not reached from other bridges of the set. */
export const bridges = {...table, set: 'bridges', key: 'ifname'} as const;

const portTable = {family: 'bridge', table: 'weft-firewall'} as const;

/** Bridge ports that are not reached from other ports, and do not reach them. */
export const isolatedPorts = {...portTable, set: 'isolated-ports', key: 'ifname'} as const;

/** The chain that holds jumps to those of the administrator. */
export const adminJumps = {...table, chain: 'admin'} as const;

/** Before iptables, whose rules see the mark. */
export const forwardPriority = -1;
/** linux/netfilter_bridge.h, NF_BR_PRI_FILTER_BRIDGED. */
const bridgePriority = -200;

const jump = (chain: string) => verdict({kind: 'jump', chain});
const drop = verdict({kind: 'drop'});

const toContainers: RuledChain = {
  ...table,
  chain: 'to-containers',
  rules: [[verdictOfAddress('daddr', 4, containers[4])], [verdictOfAddress('daddr', 6, containers[6])]],
};

const policyChain: RuledChain = {
  ...table,
  chain: 'policy',
  rules: [
    [verdictOfInterfaces(bridgePairs)],
    [matchInterfaceSet('iifname', bridges), matchInterfaceSet('oifname', bridges), drop],
  ],
};

const forwardChain: RuledChain = {
  ...table,
  chain: 'forward',
  base: {type: 'filter', hook: 'forward', priority: forwardPriority},
  rules: [
    [jump(adminJumps.chain)],
    [jump(policyChain.chain)],
    [verdictOfAddress('saddr', 4, containers[4])],
    [verdictOfAddress('saddr', 6, containers[6])],
    [matchReturnTraffic(), jump(toContainers.chain)],
    [matchChangedDestination(), jump(toContainers.chain)],
  ],
};

/** The chains every packet sees, each after those it leads to. */
export const commonChains: readonly RuledChain[] = [toContainers, policyChain, forwardChain];

/** Where frames between ports of a bridge come in. */
export const portChain: RuledChain = {
  ...portTable,
  chain: 'forward',
  base: {type: 'filter', hook: 'forward', priority: bridgePriority},
  rules: [
    [matchInterfaceSet('iifname', isolatedPorts), drop],
    [matchInterfaceSet('oifname', isolatedPorts), drop],
  ],
};

/** Sets the bit of a packet's mark, and lets it go on to the host's own chains. */
export function admitChain(mark: number): RuledChain {
  return {
    ...table,
    chain: `admit-${formatMark(mark)}`,
    rules: [[setMarkBit(mark), verdict({kind: 'accept'})]],
  };
}

/** Stands for all containers of a bridge under a policy; empty. */
export function memberChain(policy: Policy, bridge: string): RuledChain {
  return {...table, chain: `${policy}-${encodeName(bridge)}`, rules: []};
}

/** The policy and the bridge that a member chain's name says; `undefined` for another chain. */
export function parseMemberChain(chain: string): {policy: Policy; bridge: string} | undefined {
  const match = /^(same-bridge|isolated)-(.+)$/.exec(chain);
  return match ? {policy: match[1] as Policy, bridge: decodeName(match[2]!)} : undefined;
}

/** "0x1000" */
export function formatMark(mark: number): string {
  return `0x${mark.toString(16)}`;
}

/** The tables with their maps, and the chain for the administrator's, unless they are there. */
export function tableOperations({withPorts}: {readonly withPorts: boolean}): Operation[] {
  const families: readonly Family[] = [4, 6];
  return [
    ensureTable({...table, comment: 'traffic of containers, made by weft'}),
    ...families.flatMap((family) => [
      ensureSet({...containers[family], id: family}),
      ensureSet({...members[family], id: family + 10}),
    ]),
    ensureSet({...bridgePairs, id: 20}),
    ensureSet({...bridges, id: 21}),
    ensureChain(adminJumps),
    ...(withPorts
      ? [
          ensureTable({...portTable, comment: 'isolated containers, made by weft'}),
          ensureSet({...isolatedPorts, id: 22}),
        ]
      : []),
  ];
}

/** An interface's name in a form that nft reads in a chain's name. */
function encodeName(name: string): string {
  return Buffer.from(name)
    .toString('latin1')
    .replaceAll(/[^A-Za-z0-9.-]/g, (byte) => `_${byte.charCodeAt(0).toString(16).padStart(2, '0')}`);
}

function decodeName(text: string): string {
  const latin1 = text.replaceAll(/_([0-9a-f]{2})/g, (_, hex: string) =>
    String.fromCharCode(Number.parseInt(hex, 16)),
  );
  return Buffer.from(latin1, 'latin1').toString();
}
