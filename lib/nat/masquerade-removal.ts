import {isOwnTag, isStaleTag, ownerKey} from '../cni/owner.ts';
import type {Owner} from '../cni/owner.ts';
import type {Attachment} from '../cni/types.ts';
import {familyOf, ipBytes} from '../ip/address.ts';
import type {Family} from '../ip/address.ts';
import type {Cidr} from '../ip/cidr.ts';
import {deleteChain, listChains} from '../netlink/nft/chain.ts';
import {deleteElements, findElement, listElements} from '../netlink/nft/element.ts';
import type {Element} from '../netlink/nft/element.ts';
import type {Operation} from '../netlink/nft/operation.ts';
import type {NetfilterSocket} from '../netlink/nft/socket.ts';
import {addressMaps, isExceptChain} from './masquerade-rules.ts';
import {table} from './table.ts';

const families: readonly Family[] = [4, 6];

/**
 * What removes the elements of one attachment: those of `ips` that still belong to it or, when no address is
 * known, all of its elements, for which the maps are read whole. For `transact`.
 */
export async function planNftRemoval(
  nft: NetfilterSocket,
  owner: Owner,
  ips: readonly Cidr[] | undefined,
): Promise<Operation[]> {
  const isOurs = (element: Element | undefined): element is Element => isOwnTag(element?.comment, owner);
  if (ips) {
    const found = await Promise.all(
      ips.map(({ip}) => findElement(nft, addressMaps[familyOf(ip)], ipBytes(ip))),
    );
    return found.filter(isOurs).map(({key}) => deleteElements(addressMaps[key.length === 4 ? 4 : 6], [key]));
  }
  const perFamily = families.map(async (family) => {
    const keys = (await listElements(nft, addressMaps[family])).filter(isOurs).map((element) => element.key);
    return keys.length === 0 ? [] : [deleteElements(addressMaps[family], keys)];
  });
  return (await Promise.all(perFamily)).flat();
}

/**
 * What removes the elements of attachments of `network` that are not in `keep`, and chains that nothing leads
 * to any more, of whatever network. For `transact`.
 */
export async function planNftCollection(
  nft: NetfilterSocket,
  network: string,
  keep: readonly Attachment[],
): Promise<Operation[]> {
  const kept = new Set(keep.map((attachment) => ownerKey({network, ...attachment})));
  const isStale = ({comment}: Element) => isStaleTag(comment, network, kept);
  const used = new Set<string>();
  const operations: Operation[] = [];
  for (const family of families) {
    const elements = await listElements(nft, addressMaps[family]);
    const stale = elements.filter(isStale).map(({key}) => key);
    // An attribute holds 64 KiB.
    for (let at = 0; at < stale.length; at += 500) {
      operations.push(deleteElements(addressMaps[family], stale.slice(at, at + 500)));
    }
    for (const element of elements) {
      if (!isStale(element) && element.verdict && 'chain' in element.verdict) used.add(element.verdict.chain);
    }
  }
  const chains = await listChains(nft, table);
  const unused = chains.filter(({chain}) => isExceptChain(chain) && !used.has(chain));
  return [...operations, ...unused.map(({chain}) => deleteChain({...table, chain}))];
}
