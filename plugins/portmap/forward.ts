import {isOwnTag} from '../../lib/cni/owner.ts';
import type {Owner} from '../../lib/cni/owner.ts';
import type {Host} from '../../lib/host.ts';
import {ensureEntries} from '../../lib/nat/entries.ts';
import type {Entry, Wanted} from '../../lib/nat/entries.ts';
import type {RuledChain} from '../../lib/nat/table.ts';
import type {Chain} from '../../lib/netlink/nft/chain.ts';
import type {Element} from '../../lib/netlink/nft/element.ts';
import {sameVerdict} from '../../lib/netlink/nft/verdict.ts';
import {claimMap, claimMaps, isTakenMarker, takenChain, takenMarker} from './claims.ts';
import type {Forward} from './mapping.ts';
import {
  baseChains,
  byIptables,
  interfaceSet,
  keyOfMapping,
  kindOf,
  ownerSet,
  planChains,
  portmapTables,
  targetData,
  targetMap,
  verdictMap,
} from './rules.ts';
import type {ForwardOptions} from './rules.ts';
import {ownerHash, portmapTag} from './tag.ts';
import {requireFree, requireNoClaims} from './taken.ts';

/** What an attachment wants forwarded. */
export interface Forwarding extends ForwardOptions {
  readonly owner: Owner;
  readonly forwards: readonly Forward[];
  /** The host's end of the attachment. */
  readonly device: string | undefined;
  /** The host's interface towards the container, if it is to be reached from 127.0.0.1. */
  readonly localInterface: string | undefined;
}

type NftHost = Pick<Host, 'nft' | 'rt'>;

/**
 * An element of an attachment. `forward`: the mapping it is of. `marker`: it only keeps others from the port; without either
 * it is of all mappings together.
 */
export interface ForwardEntry extends Entry {
  readonly forward?: Forward;
  readonly role: 'mapping' | 'claim' | 'marker' | 'other';
}

/** The elements of an attachment, and the chains they lead to. */
export interface ForwardPlan {
  readonly entries: readonly ForwardEntry[];
  readonly chains: readonly RuledChain[];
  readonly emptyChains: readonly Chain[];
}

export function planEntries(wanted: Forwarding): ForwardPlan {
  const chains = new Map<string, RuledChain>();
  const {entries, emptyChains} = planMappings(wanted, (forward) => {
    const planned = planChains(forward, wanted);
    for (const chain of planned) chains.set(chain.chain, chain);
    return planned.at(-1)!.chain;
  });
  const {localInterface} = wanted;
  if (localInterface !== undefined) {
    const element = {key: interfaceKey(localInterface)};
    entries.push({map: interfaceSet, element, shared: true, role: 'other'});
  }
  return {entries, chains: [...chains.values()], emptyChains};
}

/** What forwarding needs of nftables. */
export function planWanted(wanted: Forwarding): Omit<Wanted<ForwardEntry>, 'onTaken'> {
  const plan = planEntries(wanted);
  return withTables({...plan, chains: [...baseChains, ...plan.chains]});
}

/** As `planWanted`, of ports that iptables forwards: the same keys are taken, and what they lead to does nothing. */
export function planReserved(wanted: Forwarding): Omit<Wanted<ForwardEntry>, 'onTaken'> {
  return withTables(planReservation(wanted));
}

function withTables(plan: ForwardPlan): Omit<Wanted<ForwardEntry>, 'onTaken'> {
  const withClaims = plan.entries.some(({role}) => role === 'claim');
  return {...plan, tables: () => [...portmapTables(), ...(withClaims ? claimMaps() : [])]};
}

function planReservation(wanted: Forwarding): ForwardPlan {
  const {entries, emptyChains} = planMappings(wanted, () => byIptables.chain);
  return {entries, chains: [], emptyChains: [...emptyChains, byIptables]};
}

function planMappings({owner, forwards, device}: Forwarding, chainOf: (forward: Forward) => string) {
  const comment = portmapTag(owner, device);
  const entries: ForwardEntry[] = [];
  const markers = new Map<string, ForwardEntry>();
  const emptyChains = new Map<string, Chain>();
  for (const forward of forwards) {
    const {family} = forward;
    const kind = kindOf(forward);
    const key = keyOfMapping(forward);
    const jump = {kind: 'jump', chain: chainOf(forward)} as const;
    const element: Element = {key, verdict: jump, comment};
    entries.push(
      {map: verdictMap(kind, family), element, forward, role: 'mapping'},
      {
        map: targetMap(kind, family),
        element: {key, data: targetData(forward), comment},
        forward,
        role: 'mapping',
      },
    );
    if (kind !== 'host') continue;
    const taken = takenChain(family, key);
    emptyChains.set(taken.chain, taken);
    const verdict = {kind: 'jump', chain: taken.chain} as const;
    entries.push({map: claimMap(family), element: {key, verdict, comment}, forward, role: 'claim'});
    markers.set(taken.chain, {
      map: verdictMap('port', family),
      element: takenMarker(family, key),
      shared: true,
      forward,
      role: 'marker',
    });
  }
  // Whoever has the port of all addresses as well needs no other element there.
  for (const {hostIp, family, hostPort, protocol} of forwards) {
    const own = {hostIp: undefined, hostPort, protocol};
    if (!hostIp) markers.delete(takenChain(family, keyOfMapping(own)).chain);
  }
  entries.push(...markers.values(), {
    map: ownerSet,
    element: {key: ownerHash(owner), comment: portmapTag(owner, device, {ports: forwards.length})},
    role: 'other',
  });
  return {entries, emptyChains: [...emptyChains.values()]};
}

export function interfaceKey(name: string): Buffer {
  const key = Buffer.alloc(16);
  key.write(name);
  return key;
}

/**
 * Forwards the ports: one transaction on a host where it was done before. A port that another attachment holds is an error,
 * unless that is gone. Throws NetlinkErrors as they come.
 */
export async function ensureForwarding(host: NftHost, wanted: Forwarding): Promise<void> {
  await ensureWanted(host, wanted, planWanted(wanted));
}

/** As `ensureForwarding`, of ports that iptables forwards: only that others see them taken. */
export async function ensureReservation(host: NftHost, wanted: Forwarding): Promise<void> {
  await ensureWanted(host, wanted, planReserved(wanted));
}

async function ensureWanted(
  host: NftHost,
  {owner}: Forwarding,
  plan: ReturnType<typeof planWanted>,
): Promise<void> {
  await ensureEntries(host.nft, {
    ...plan,
    async onTaken({element, forward, role}, found) {
      if (isOwnTag(found.comment, owner)) {
        return role === 'marker' || sameElement(element, found) ? 'keep' : 'replace';
      }
      if (!forward) return 'replace';
      if (role !== 'marker' && isTakenMarker(found)) await requireNoClaims(host, {owner, forward});
      else await requireFree(host, {forward, found, kind: role === 'marker' ? 'port' : kindOf(forward)});
      return 'replace';
    },
  });
}

function sameElement(wanted: Element, found: Element): boolean {
  if (wanted.comment !== found.comment) return false;
  if (wanted.verdict) return sameVerdict(found.verdict, wanted.verdict);
  return Buffer.compare(wanted.data ?? Buffer.alloc(0), found.data ?? Buffer.alloc(0)) === 0;
}
