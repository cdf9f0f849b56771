import type {Family} from '../../lib/ip/address.ts';
import type {Chain} from '../../lib/netlink/nft/chain.ts';
import {deleteChain, findChain} from '../../lib/netlink/nft/chain.ts';
import {deleteElements, findElement} from '../../lib/netlink/nft/element.ts';
import type {Element} from '../../lib/netlink/nft/element.ts';
import type {Operation} from '../../lib/netlink/nft/operation.ts';
import {ensureSet} from '../../lib/netlink/nft/set.ts';
import type {NetfilterSocket} from '../../lib/netlink/nft/socket.ts';
import {portProtocols} from '../../lib/netlink/nft/match.ts';
import {table} from '../../lib/nat/table.ts';
import {families} from './mapping.ts';
import {verdictMap} from './rules.ts';

// A port of all addresses and the same port of one address stand in each other's way, as for processes that listen. Their
// keys are in different maps, so the kernel would not refuse the second one by itself. Therefore a mapping for one address
// also has an element in a third map, which leads to an empty chain of its port, and a port that has such mappings has an
// element of no effect where the mapping for all addresses would be:
//
//   map portmap-host-claims4 { type ipv4_addr . inet_proto . inet_service : verdict
//     elements = { 192.0.2.1 . tcp . 8080 comment "<owner>" : jump portmap-taken4-tcp-8080 } }
//   map portmap-ports4 { elements = { tcp . 8080 : jump portmap-taken4-tcp-8080 } }
//   chain portmap-taken4-tcp-8080 { }
//
// Both ways the kernel refuses the second, whoever is first. And it counts what leads to the chain, so that the last
// mapping of a port is known without a list of the others.

/** From a mapping for one address to the chain of its port. */
export function claimMap(family: Family) {
  return {...verdictMap('host', family), set: `portmap-host-claims${family}`} as const;
}

/** Makes the maps of claims, unless they are there. The table must be. */
export function claimMaps(): Operation[] {
  return families.map((family) => ensureSet({...claimMap(family), id: 20 + family}));
}

const takenPrefix = 'portmap-taken';
const protocolNames = new Map<number, string>(
  Object.entries(portProtocols).map(([name, number]) => [number, name]),
);

/** The empty chain of a port that is mapped for some addresses. `key`: of the port, or of one mapping. */
export function takenChain(family: Family, key: Uint8Array): Chain {
  const ports = portKey(key);
  const protocol = protocolNames.get(ports[0]!) ?? String(ports[0]);
  return {...table, chain: `${takenPrefix}${family}-${protocol}-${ports.readUInt16BE(4)}`};
}

export function isTakenChain(name: string): boolean {
  return name.startsWith(takenPrefix);
}

/** The key of a port, from that of a mapping for one address. */
export function portKey(key: Uint8Array): Buffer {
  return Buffer.from(key).subarray(-8);
}

/** The element that keeps a port from being mapped for all addresses. */
export function takenMarker(family: Family, key: Uint8Array): Element {
  return {key: portKey(key), verdict: {kind: 'jump', chain: takenChain(family, key).chain}};
}

/** Whether an element is such a one, and no mapping. */
export function isTakenMarker({verdict}: Element): boolean {
  return verdict !== undefined && 'chain' in verdict && isTakenChain(verdict.chain);
}

/** A claim that is to be deleted. */
export interface Claim {
  readonly family: Family;
  readonly key: Uint8Array;
}

/** What ends with the last claims of their ports. For `transact`, behind the deletion of the claims themselves. */
export async function planClaimEnds(nft: NetfilterSocket, leaving: readonly Claim[]): Promise<Operation[]> {
  const ports = new Map<string, {readonly claim: Claim; count: number}>();
  for (const claim of leaving) {
    const {chain} = takenChain(claim.family, claim.key);
    const port = ports.get(chain) ?? {claim, count: 0};
    port.count++;
    ports.set(chain, port);
  }
  const plans = [...ports.values()].map(async ({claim: {family, key}, count}) => {
    const chain = takenChain(family, key);
    const map = verdictMap('port', family);
    const [found, element] = await Promise.all([findChain(nft, chain), findElement(nft, map, portKey(key))]);
    const marked = element !== undefined && isTakenMarker(element);
    if (!found || (found.use ?? 0) > count + (marked ? 1 : 0)) return [];
    return [...(marked ? [deleteElements(map, [portKey(key)])] : []), deleteChain(chain)];
  });
  return (await Promise.all(plans)).flat();
}
