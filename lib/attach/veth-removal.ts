import {allDone, everyStep} from '../cni/every.ts';
import {isStaleTag, isTagOfOther, ownerKey} from '../cni/owner.ts';
import type {Owner} from '../cni/owner.ts';
import type {Call} from '../cni/plugin.ts';
import type {Attachment} from '../cni/types.ts';
import type {Host} from '../host.ts';
import type {Cidr} from '../ip/cidr.ts';
import {listAddresses} from '../netlink/route/address.ts';
import {findLink, listLinks, removeLink} from '../netlink/route/link.ts';
import type {Link} from '../netlink/route/link.ts';
import type {LinkRemoval} from '../netlink/route/link-remover.ts';
import {findSandbox} from './sandbox.ts';
import {findVethName} from './veth-name.ts';

/** Removes the host end of an attachment's veth pair, found by its name alone; one that is not there is removed already. */
export async function removeVeth(host: Host, owner: Owner): Promise<void> {
  const {left} = await findVethName(host, owner);
  if (left) await host.remover.remove(left.ifindex).gone();
}

/** The removal of a veth pair that has begun. */
export interface PairRemoval {
  /** What the container's end had, where that was asked for and is known. */
  readonly addresses: readonly Cidr[] | undefined;
  /** Resolves when both ends are gone. */
  gone(): Promise<unknown> | undefined;
}

/**
 * Begins to remove the veth pair, by either end: when this returns, both are down or about to be. An interface that the
 * container has under this name goes as well, whoever made it, unless it is another container's.
 */
export async function beginVethRemoval(
  call: Call,
  host: Host,
  owner: Owner,
  {needsAddresses}: {readonly needsAddresses: boolean},
): Promise<PairRemoval> {
  using sandbox = findSandbox(call, host);
  const [{left}, link] = await allOf([
    findVethName(host, owner),
    sandbox ? findLink(sandbox.rt, {name: call.ifName}) : Promise.resolve(undefined),
  ]);
  const isPair = left !== undefined && link !== undefined && isSamePair(left, link);
  if (!sandbox || !link || (!isPair && (await isOfOther(host, link, owner)))) {
    return begin(left && host.remover.remove(left.ifindex));
  }
  const known = needsAddresses ? await listAddresses(sandbox.rt, {ifindex: link.ifindex}) : undefined;
  const addresses = known?.filter(({scope}) => scope === 0);
  if (!isPair) await removeLink(sandbox.rt, {ifindex: link.ifindex});
  return begin(left && host.remover.remove(left.ifindex), addresses);
}

/** Whether each is the other's other end; they are in different namespaces. */
function isSamePair(one: Link, other: Link): boolean {
  return one.link === other.ifindex && other.link === one.ifindex;
}

/** As Promise.all, but nothing is under way any more when it fails. */
async function allOf<A, B>([a, b]: readonly [Promise<A>, Promise<B>]): Promise<readonly [A, B]> {
  await allDone([a, b]);
  return [await a, await b];
}

async function begin(removal: LinkRemoval | undefined, addresses?: readonly Cidr[]): Promise<PairRemoval> {
  await removal?.begun();
  return {addresses, gone: () => removal?.gone()};
}

/** The path of a namespace (`/proc/<pid>/ns/net`) may lead to another container by now, which keeps its interface. */
async function isOfOther(host: Host, {ifindex, link}: Link, owner: Owner): Promise<boolean> {
  const peer = link === undefined ? undefined : await findLink(host.rt, {ifindex: link});
  return peer?.info?.kind === 'veth' && peer.link === ifindex && isTagOfOther(peer.alias, owner);
}

/** Removes the veth pairs of this network's attachments that are none of `keep`, by their tags; all of them together. */
export async function removeStaleVeths(host: Host, call: Call, keep: readonly Attachment[]): Promise<void> {
  const kept = new Set(keep.map((each) => ownerKey({network: call.name, ...each})));
  const links = await listLinks(host.rt, {kind: 'veth'});
  const stale = links.filter(({alias}) => isStaleTag(alias, call.name, kept));
  const removals = stale.map((link) => {
    call.log.info({link: link.name, alias: link.alias}, 'remove the veth pair of a container that is gone');
    return host.remover.remove(link.ifindex).gone();
  });
  await Promise.allSettled(removals);
  await everyStep(removals.map((removal) => () => removal));
}
