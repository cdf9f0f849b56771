import {isOwnTag, isStaleTag, ownerKey} from '../../lib/cni/owner.ts';
import type {Owner} from '../../lib/cni/owner.ts';
import type {Attachment} from '../../lib/cni/types.ts';
import {ipFromBytes} from '../../lib/ip/address.ts';
import type {Family, Ip} from '../../lib/ip/address.ts';
import {table} from '../../lib/nat/table.ts';
import {deleteChain, listChains} from '../../lib/netlink/nft/chain.ts';
import {deleteElements, findElement, listElements} from '../../lib/netlink/nft/element.ts';
import type {Element, ElementsOf} from '../../lib/netlink/nft/element.ts';
import type {Operation} from '../../lib/netlink/nft/operation.ts';
import {findTarget, listRules} from '../../lib/netlink/nft/rule.ts';
import type {SetRef} from '../../lib/netlink/nft/set.ts';
import type {NetfilterSocket} from '../../lib/netlink/nft/socket.ts';
import {claimMap, isTakenChain, planClaimEnds} from './claims.ts';
import {
  interfaceSet,
  isConditionChain,
  isOptionChain,
  keyOfMapping,
  kindOf,
  kindsAndFamilies,
  ownerSet,
  targetMap,
  verdictMap,
} from './rules.ts';
import type {Kind} from './rules.ts';
import {families, mappingsOf} from './mapping.ts';
import type {Mapping} from './mapping.ts';
import {countOf, ownerHash} from './tag.ts';

/** A mapping that a plan removes: what led where. */
export interface RemovedMapping {
  readonly family: Family;
  readonly protocol: number;
  readonly hostPort: number;
  readonly container: Ip;
}

/** Operations for `transact`, and what they take away. */
export interface RemovalPlan {
  readonly operations: readonly Operation[];
  readonly removed: readonly RemovedMapping[];
}

/** Elements found in a map. */
interface Found {
  readonly map: SetRef;
  readonly element: Element;
  /** What an element of a mapping is: where it leads to, the address there, or that the port is taken. */
  readonly role?: 'verdict' | 'target' | 'claim';
  readonly family?: Family;
}

// Beyond, the maps are read whole: a question for each key would take longer.
const mostQuestions = 64;
// An attribute holds 64 KiB.
const mostKeys = 500;

/**
 * What removes the mappings of one attachment. Those of `mappings` are looked up by their keys; whatever else there is of it, as one
 * element tells, by its owner in all of the maps. Nothing of it costs one question.
 */
export async function planRemoval(
  nft: NetfilterSocket,
  owner: Owner,
  mappings: readonly Mapping[],
): Promise<RemovalPlan> {
  const questions = families.flatMap((family) =>
    mappingsOf(mappings, family).map((mapping) => ({
      kind: kindOf(mapping),
      family,
      key: keyOfMapping(mapping),
    })),
  );
  const [index, keyed] = await Promise.all([
    findElement(nft, ownerSet, ownerHash(owner)),
    questions.length > mostQuestions ? [] : findByKey(nft, questions),
  ]);
  const isOwn = ({element}: Found) => isOwnTag(element.comment, owner);
  const ownIndex = isOwnTag(index?.comment, owner) ? index : undefined;
  let own = keyed.filter(isOwn);
  const verdicts = own.filter(({role}) => role === 'verdict').length;
  if (ownIndex && verdicts !== countOf(ownIndex.comment ?? '')) own = (await listAll(nft)).filter(isOwn);
  return {
    operations: [
      ...(await planMappingRemoval(nft, own)),
      ...(ownIndex ? [deleteElements(ownerSet, [ownIndex.key])] : []),
    ],
    removed: own.flatMap(removedMapping),
  };
}

/** One place that a mapping has. */
interface Place {
  readonly kind: Kind;
  readonly family: Family;
  readonly key: Uint8Array;
}

/** What removes all elements of mappings that are where, and whose, `keys` say. */
export async function planKeyRemoval(
  nft: NetfilterSocket,
  keys: readonly (Place & {readonly comment: string | undefined})[],
): Promise<Operation[]> {
  const found = keys.map(async ({comment, ...place}) =>
    (await findByKey(nft, [place])).filter(({element}) => element.comment === comment),
  );
  return planMappingRemoval(nft, (await Promise.all(found)).flat());
}

function mapsOf(kind: Kind, family: Family): Omit<Found & {readonly map: ElementsOf}, 'element'>[] {
  return [
    {map: verdictMap(kind, family), role: 'verdict', family},
    {map: targetMap(kind, family), role: 'target', family},
    ...(kind === 'host' ? [{map: claimMap(family), role: 'claim', family} as const] : []),
  ];
}

async function findByKey(nft: NetfilterSocket, places: readonly Place[]): Promise<Found[]> {
  const answers = places.flatMap(({kind, family, key}) =>
    mapsOf(kind, family).map(async (of) => {
      const element = await findElement(nft, of.map, key);
      return element ? [{...of, element}] : [];
    }),
  );
  return (await Promise.all(answers)).flat();
}

async function listAll(nft: NetfilterSocket): Promise<Found[]> {
  const lists = kindsAndFamilies.flatMap(({kind, family}) =>
    mapsOf(kind, family).map(async (of) =>
      (await listElements(nft, of.map)).map((element): Found => ({...of, element})),
    ),
  );
  return (await Promise.all(lists)).flat();
}

async function planMappingRemoval(nft: NetfilterSocket, found: readonly Found[]): Promise<Operation[]> {
  const claims = found.flatMap(({role, family, element: {key}}) =>
    role === 'claim' && family ? [{family, key}] : [],
  );
  return [...planDeletion(found), ...(await planClaimEnds(nft, claims))];
}

function planDeletion(found: readonly Found[]): Operation[] {
  const maps = new Map<string, {map: SetRef; keys: Uint8Array[]}>();
  for (const {map, element} of found) {
    const entry = maps.get(map.set) ?? {map, keys: []};
    entry.keys.push(element.key);
    maps.set(map.set, entry);
  }
  const operations: Operation[] = [];
  for (const {map, keys} of maps.values()) {
    for (let at = 0; at < keys.length; at += mostKeys) {
      operations.push(deleteElements(map, keys.slice(at, at + mostKeys)));
    }
  }
  return operations;
}

function removedMapping({element: {key, data}, role, family}: Found): RemovedMapping[] {
  if (role !== 'target' || !family || !data) return [];
  const ports = Buffer.from(key).subarray(-8);
  return [
    {
      family,
      protocol: ports[0]!,
      hostPort: ports.readUInt16BE(4),
      container: ipFromBytes(Buffer.from(data.subarray(0, family === 4 ? 4 : 16))),
    },
  ];
}

/**
 * What removes the mappings of attachments of `network` that are not in `keep`, and chains that nothing leads to any more,
 * of whatever network. `links`: the names of the host's interfaces; those of others are forgotten.
 */
export async function planCollection(
  nft: NetfilterSocket,
  {network, keep, links}: {network: string; keep: readonly Attachment[]; links: ReadonlySet<string>},
): Promise<RemovalPlan> {
  const kept = new Set(keep.map((attachment) => ownerKey({network, ...attachment})));
  const isStale = ({element}: Found) => isStaleTag(element.comment, network, kept);
  const [all, owners, interfaces] = await Promise.all([
    listAll(nft),
    listElements(nft, ownerSet),
    listElements(nft, interfaceSet),
  ]);
  const stale = all.filter(isStale);
  const lost = [
    ...owners.map((element): Found => ({map: ownerSet, element})).filter(isStale),
    ...interfaces
      .filter(({key}) => !links.has(interfaceName(key)))
      .map((element): Found => ({map: interfaceSet, element})),
  ];
  const left = all.filter((each) => !isStale(each));
  const chains = (await listChains(nft, table)).map(({chain}) => chain);
  return {
    operations: [
      ...planDeletion(stale),
      ...planDeletion(lost),
      ...planUnclaimed(left, chains),
      ...(await planUnusedChains(nft, new Set(left.flatMap(chainOf)), chains)),
    ],
    removed: stale.flatMap(removedMapping),
  };
}

function chainOf({element: {verdict}}: Pick<Found, 'element'>): string[] {
  return verdict && 'chain' in verdict ? [verdict.chain] : [];
}

/** Chains of ports, and what leads there, when no claim does. */
function planUnclaimed(left: readonly Found[], chains: readonly string[]): Operation[] {
  const claimed = new Set(left.filter(({role}) => role === 'claim').flatMap(chainOf));
  const unclaimed = chains.filter((chain) => isTakenChain(chain) && !claimed.has(chain));
  const markers = left.filter((each) => chainOf(each).some((chain) => unclaimed.includes(chain)));
  return [...planDeletion(markers), ...unclaimed.map((chain) => deleteChain({...table, chain}))];
}

function interfaceName(key: Uint8Array): string {
  const text = Buffer.from(key).toString('utf8');
  return text.slice(0, text.indexOf('\0'));
}

async function planUnusedChains(
  nft: NetfilterSocket,
  leadTo: ReadonlySet<string>,
  chains: readonly string[],
): Promise<Operation[]> {
  const used = new Set(leadTo);
  const names = chains.filter(isOptionChain);
  for (const chain of names) {
    if (!isConditionChain(chain) || !leadTo.has(chain)) continue;
    for (const rule of await listRules(nft, {...table, chain})) used.add(findTarget(rule) ?? '');
  }
  // Those that lead to others go before them.
  const unused = names.filter((chain) => !used.has(chain));
  return [...unused.filter(isConditionChain), ...unused.filter((chain) => !isConditionChain(chain))].map(
    (chain) => deleteChain({...table, chain}),
  );
}
