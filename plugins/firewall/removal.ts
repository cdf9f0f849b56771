import {isOwnTag, isStaleTag, ownerKey} from '../../lib/cni/owner.ts';
import type {Owner} from '../../lib/cni/owner.ts';
import type {Attachment} from '../../lib/cni/types.ts';
import {familyOf, formatIp, ipBytes, ipFromBytes} from '../../lib/ip/address.ts';
import type {Ip} from '../../lib/ip/address.ts';
import {deleteChain, findChain} from '../../lib/netlink/nft/chain.ts';
import {addElements, deleteElements, findElement, listElements} from '../../lib/netlink/nft/element.ts';
import type {Element, ElementsOf} from '../../lib/netlink/nft/element.ts';
import type {Operation} from '../../lib/netlink/nft/operation.ts';
import type {NetfilterSocket} from '../../lib/netlink/nft/socket.ts';
import type {Policy} from './conf.ts';
import {
  bridgePairs,
  bridges,
  containers,
  isolatedPorts,
  memberChain,
  members,
  parseMemberChain,
} from './ruleset.ts';
import {nameKey, pairKey} from './statements.ts';

/** What is to go, for `transact`, and the addresses it stands for. */
export interface Removal {
  readonly operations: readonly Operation[];
  readonly ips: readonly Ip[];
}

/** What a previous result says of an attachment. */
export interface Known {
  readonly ips: readonly Ip[];
  /** Its ends on the host. */
  readonly ports: readonly string[];
}

interface Found {
  readonly set: ElementsOf;
  readonly element: Element;
}

const addressMaps = [containers[4], containers[6], members[4], members[6]] as const;
const allSets: readonly ElementsOf[] = [...addressMaps, isolatedPorts];

/**
 * What removes all of one attachment: by the keys that are known, else, without a previous result, every set is read
 * whole. What belongs to others by now stays. `taken` are those addresses.
 */
export async function planRemoval(
  nft: NetfilterSocket,
  owner: Owner,
  known: Known | undefined,
): Promise<Removal & {readonly taken: readonly Ip[]}> {
  const found = known ? await findKnown(nft, known) : await listAll(nft);
  const own = found.filter(({element}) => isOwnTag(element.comment, owner));
  const others = known ? found.filter((each) => !own.includes(each)) : [];
  return {...(await planDeletion(nft, own)), taken: addressesOf(others)};
}

/** What removes all of the attachments of `network` that are not in `keep`. */
export async function planCollection(
  nft: NetfilterSocket,
  network: string,
  keep: readonly Attachment[],
): Promise<Removal> {
  const kept = new Set(keep.map((attachment) => ownerKey({network, ...attachment})));
  const found = await listAll(nft);
  return planDeletion(
    nft,
    found.filter(({element}) => isStaleTag(element.comment, network, kept)),
  );
}

async function findKnown(nft: NetfilterSocket, {ips, ports}: Known): Promise<Found[]> {
  const keys = [
    ...ips.flatMap((ip) => [containers, members].map((maps) => [maps[familyOf(ip)], ipBytes(ip)] as const)),
    ...ports.map((port) => [isolatedPorts, nameKey(port)] as const),
  ];
  const found = keys.map(async ([set, key]) => {
    const element = await findElement(nft, set, key);
    return element ? [{set, element}] : [];
  });
  return (await Promise.all(found)).flat();
}

async function listAll(nft: NetfilterSocket): Promise<Found[]> {
  const lists = allSets.map(async (set) => {
    return (await listElements(nft, set)).map((element) => ({set, element}));
  });
  return (await Promise.all(lists)).flat();
}

async function planDeletion(nft: NetfilterSocket, found: readonly Found[]): Promise<Removal> {
  const operations: Operation[] = [];
  for (const set of allSets) {
    const keys = found.filter((each) => each.set === set).map(({element}) => element.key);
    // An attribute holds 64 KiB.
    for (let at = 0; at < keys.length; at += 500)
      operations.push(deleteElements(set, keys.slice(at, at + 500)));
  }
  return {operations: [...operations, ...(await planEnds(nft, found))], ips: addressesOf(found)};
}

function addressesOf(found: readonly Found[]): Ip[] {
  const ips = found
    .filter(({set}) => (addressMaps as readonly ElementsOf[]).includes(set))
    .map(({element}) => ipFromBytes(Buffer.from(element.key)));
  return [...new Map(ips.map((ip) => [formatIp(ip), ip])).values()];
}

/** What ends with the last container of a bridge: its policy. */
async function planEnds(nft: NetfilterSocket, found: readonly Found[]): Promise<Operation[]> {
  const leaving = new Map<string, number>();
  const ending = new Set<string>();
  for (const {element} of found) {
    const chain = element.verdict && 'chain' in element.verdict ? element.verdict.chain : '';
    const bridge = parseMemberChain(chain)?.bridge;
    if (bridge === undefined) continue;
    leaving.set(chain, (leaving.get(chain) ?? 0) + 1);
    ending.add(bridge);
  }
  const plans = [...ending].map((bridge) => planBridge(nft, bridge, leaving));
  return (await Promise.all(plans)).flat();
}

async function planBridge(
  nft: NetfilterSocket,
  bridge: string,
  leaving: ReadonlyMap<string, number>,
): Promise<Operation[]> {
  const stay = async (policy: Policy) => {
    const chain = memberChain(policy, bridge);
    const found = await findChain(nft, chain);
    const left = (found?.use ?? 0) - (leaving.get(chain.chain) ?? 0);
    return {left, remove: found && left === 0 ? [deleteChain(chain)] : []};
  };
  const pair = pairKey(bridge, bridge);
  const [isolated, sameBridge, pairFound, bridgeFound] = await Promise.all([
    stay('isolated'),
    stay('same-bridge'),
    findElement(nft, bridgePairs, pair),
    findElement(nft, bridges, nameKey(bridge)),
  ]);
  const operations = [...isolated.remove, ...sameBridge.remove];
  const removePair = pairFound ? [deleteElements(bridgePairs, [pair])] : [];
  if (isolated.left + sameBridge.left === 0) {
    return [
      ...operations,
      ...removePair,
      ...(bridgeFound ? [deleteElements(bridges, [nameKey(bridge)])] : []),
    ];
  }
  if (isolated.left > 0 || pairFound?.verdict?.kind !== 'drop') return operations;
  // The network that isolated its containers has none left; the other wants them to reach each other.
  return [...operations, ...removePair, addElements(bridgePairs, [{key: pair, verdict: {kind: 'return'}}])];
}
