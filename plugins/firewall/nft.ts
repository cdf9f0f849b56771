import {isOwnTag, ownerTag} from '../../lib/cni/owner.ts';
import type {Owner} from '../../lib/cni/owner.ts';
import {familyOf, formatIp, ipBytes} from '../../lib/ip/address.ts';
import type {Ip} from '../../lib/ip/address.ts';
import {ensureEntries} from '../../lib/nat/entries.ts';
import type {Entry, Wanted as WantedEntries} from '../../lib/nat/entries.ts';
import type {RuledChain} from '../../lib/nat/table.ts';
import {addChain, ensureChain, findChain} from '../../lib/netlink/nft/chain.ts';
import {findElement} from '../../lib/netlink/nft/element.ts';
import type {Element} from '../../lib/netlink/nft/element.ts';
import {findTarget, insertRule, listRules} from '../../lib/netlink/nft/rule.ts';
import type {NetfilterSocket} from '../../lib/netlink/nft/socket.ts';
import {verdict} from '../../lib/netlink/nft/statement.ts';
import {ensureTable} from '../../lib/netlink/nft/table.ts';
import {transact} from '../../lib/netlink/nft/transaction.ts';
import {sameVerdict} from '../../lib/netlink/nft/verdict.ts';
import {checkChain} from '../../lib/nat/table.ts';
import type {Policy} from './conf.ts';
import {
  adminJumps,
  admitChain,
  bridgePairs,
  bridges,
  commonChains,
  containers,
  isolatedPorts,
  memberChain,
  members,
  portChain,
  table,
  tableOperations,
} from './ruleset.ts';
import {nameKey, pairKey} from './statements.ts';

/** What one attachment wants of the nftables backend. */
export interface Wanted {
  readonly owner: Owner;
  readonly ips: readonly Ip[];
  readonly adminChain: string;
  readonly mark: number;
  readonly isolation: Isolation | undefined;
}

/** How the containers of a bridge are kept apart. */
export interface Isolation {
  readonly policy: Policy;
  readonly bridge: string;
  /** The attachment's ends on the host; empty where frames between ports are not filtered. */
  readonly ports: readonly string[];
}

const maxCommentBytes = 128;

/** One element, and what CHECK says where it is missing. */
interface FirewallEntry extends Entry {
  readonly what: string;
}

function planEntries({owner, ips, mark, isolation}: Wanted): FirewallEntry[] {
  const comment = ownerTag(owner, maxCommentBytes);
  const unique = [...new Map(ips.map((ip) => [formatIp(ip), ip])).values()];
  const entries = unique.map((ip): FirewallEntry => {
    const goto = {kind: 'goto', chain: admitChain(mark).chain} as const;
    return {
      map: containers[familyOf(ip)],
      element: {key: ipBytes(ip), verdict: goto, comment},
      what: `${formatIp(ip)} is not admitted`,
    };
  });
  if (!isolation) return entries;
  const {policy, bridge, ports} = isolation;
  const chain = memberChain(policy, bridge).chain;
  const unsafe = `ingressPolicy "${policy}" of bridge "${bridge}" is not in force`;
  return [
    ...entries,
    ...unique.map((ip): FirewallEntry => ({
      map: members[familyOf(ip)],
      element: {key: ipBytes(ip), verdict: {kind: 'jump', chain}, comment},
      what: `${formatIp(ip)} is not counted as a container of bridge "${bridge}"`,
    })),
    {
      map: bridgePairs,
      element: {key: pairKey(bridge, bridge), verdict: {kind: policy === 'isolated' ? 'drop' : 'return'}},
      shared: true,
      what: unsafe,
    },
    {map: bridges, element: {key: nameKey(bridge)}, shared: true, what: unsafe},
    ...ports.map((port): FirewallEntry => ({
      map: isolatedPorts,
      element: {key: nameKey(port), comment},
      what: `"${port}" is not isolated from the other ports of bridge "${bridge}"`,
    })),
  ];
}

function planChains({mark, isolation}: Wanted): readonly RuledChain[] {
  return [
    ...commonChains,
    admitChain(mark),
    ...(isolation ? [memberChain(isolation.policy, isolation.bridge)] : []),
    ...(isolation && isolation.ports.length > 0 ? [portChain] : []),
  ];
}

/** What an attachment needs of nftables. */
export function planWanted(wanted: Wanted): Omit<WantedEntries<FirewallEntry>, 'onTaken'> {
  return {
    entries: planEntries(wanted),
    tables: () => tableOperations({withPorts: (wanted.isolation?.ports.length ?? 0) > 0}),
    chains: planChains(wanted),
  };
}

/** The part of it that is about frames between ports of a bridge, which not every kernel can filter. */
export function planWantedPorts(wanted: Wanted): ReturnType<typeof planWanted> | undefined {
  const plan = planWanted(wanted);
  const entries = plan.entries.filter(({map}) => map === isolatedPorts);
  return entries.length === 0 ? undefined : {...plan, entries, chains: [portChain]};
}

/**
 * Admits what the attachment sends, what is answered to it and what was published of it, and keeps bridges apart. On a
 * host where all else was done before this is one transaction. An address that somebody else left behind is taken over.
 * Whether chains had to be made: of a host's first container.
 */
export async function ensureAdmitted(nft: NetfilterSocket, wanted: Wanted): Promise<boolean> {
  return ensureEntries(nft, {
    ...planWanted(wanted),
    onTaken: (entry, found) => (isAsWanted(entry, found, wanted.owner) ? 'keep' : 'replace'),
  });
}

/** What isolates a bridge more is right as well: another network on it asked for that. */
function isAsWanted({shared, element}: FirewallEntry, found: Element, owner: Owner): boolean {
  if (shared) return found.verdict?.kind === 'drop' || element.verdict?.kind === found.verdict?.kind;
  if (!isOwnTag(found.comment, owner)) return false;
  return element.verdict ? sameVerdict(found.verdict, element.verdict) : true;
}

/** The administrator's chain, and a jump to it in front of everything else; what is in it stays as it is. */
export async function ensureAdminChain(nft: NetfilterSocket, name: string): Promise<void> {
  const chain = {...table, chain: name};
  if (await findChain(nft, chain)) return;
  await transact(nft, async () => {
    if (await findChain(nft, chain)) return [];
    return [
      ensureTable(table),
      ensureChain(adminJumps),
      addChain(chain),
      insertRule({...adminJumps, statements: [verdict({kind: 'jump', chain: name})]}),
    ];
  });
}

/** As `ensureAdminChain`; also where the chain is there, and nothing leads to it any more. */
export async function restoreAdminChain(nft: NetfilterSocket, name: string): Promise<void> {
  await ensureAdminChain(nft, name);
  await transact(nft, async () => {
    if ((await checkAdminChain(nft, {adminChain: name})).length === 0) return [];
    return [
      ensureChain(adminJumps),
      insertRule({...adminJumps, statements: [verdict({kind: 'jump', chain: name})]}),
    ];
  });
}

/** What is missing or different, one sentence each. */
export async function checkAdmitted(nft: NetfilterSocket, wanted: Wanted): Promise<string[]> {
  const elements = planEntries(wanted).map(async (entry) => {
    const {map, element, what} = entry;
    const where = `${map.family} ${map.table} ${map.set}`;
    const found = await findElement(nft, map, element.key);
    if (!found) return [`${what}: ${where} lacks it`];
    if (isAsWanted(entry, found, wanted.owner)) return [];
    if (entry.shared || isOwnTag(found.comment, wanted.owner)) return [`${what}: ${where} says otherwise`];
    return [`${what}: in ${where} it belongs to "${found.comment ?? ''}"`];
  });
  const rules = planChains(wanted)
    .filter((chain) => chain.rules.length > 0)
    .map(async (chain) => (await checkChain(nft, chain)) ?? []);
  return [...new Set((await Promise.all([...elements, ...rules, checkAdminChain(nft, wanted)])).flat())];
}

/** Whether packets come to the administrator's chain, as a sentence where they do not. */
export async function checkAdminChain(
  nft: NetfilterSocket,
  {adminChain}: Pick<Wanted, 'adminChain'>,
): Promise<string[]> {
  const jumps = await listRules(nft, adminJumps);
  if (jumps.some((rule) => findTarget(rule) === adminChain)) return [];
  return [`nothing leads to the administrator's chain ${table.family} ${table.table} ${adminChain}`];
}
