import {everyStep} from '../cni/every.ts';
import {isStaleTag, isTagOfOther, ownerKey} from '../cni/owner.ts';
import type {Owner} from '../cni/owner.ts';
import type {Call} from '../cni/plugin.ts';
import type {Attachment} from '../cni/types.ts';
import type {Host} from '../host.ts';
import type {Cidr} from '../ip/cidr.ts';
import {listAddresses} from '../netlink/route/address.ts';
import {findLink, listLinks, removeLink} from '../netlink/route/link.ts';
import type {Link} from '../netlink/route/link.ts';
import {findSandbox} from './sandbox.ts';
import {findVethName} from './veth-name.ts';

/** Removes the host end of an attachment's veth pair, found by its name alone; tells whether it was there. */
export async function removeVeth(host: Host, owner: Owner): Promise<boolean> {
  const {left} = await findVethName(host, owner);
  return left ? removeLink(host.rt, {ifindex: left.ifindex}) : false;
}

/** Removes the veth pair by either end. Gives the addresses the container's end had, if they are asked for. */
export async function removeVethPair(
  call: Call,
  host: Host,
  owner: Owner,
  {needsAddresses}: {readonly needsAddresses: boolean},
): Promise<readonly Cidr[] | undefined> {
  using sandbox = findSandbox(call, host);
  const link = sandbox && (await findLink(sandbox.rt, {name: call.ifName}));
  if (!sandbox || !link || (await isOfOther(host, link, owner))) {
    await removeVeth(host, owner);
    return undefined;
  }
  const addresses = needsAddresses ? await listAddresses(sandbox.rt, {ifindex: link.ifindex}) : undefined;
  await removeLink(sandbox.rt, {ifindex: link.ifindex});
  return addresses?.filter(({scope}) => scope === 0);
}

/** The path of a namespace (`/proc/<pid>/ns/net`) may lead to another container by now, which keeps its interface. */
async function isOfOther(host: Host, {ifindex, link}: Link, owner: Owner): Promise<boolean> {
  const peer = link === undefined ? undefined : await findLink(host.rt, {ifindex: link});
  return peer?.info?.kind === 'veth' && peer.link === ifindex && isTagOfOther(peer.alias, owner);
}

/** Removes the veth pairs of this network's attachments that are none of `keep`, by their tags. */
export async function removeStaleVeths(host: Host, call: Call, keep: readonly Attachment[]): Promise<void> {
  const kept = new Set(keep.map((each) => ownerKey({network: call.name, ...each})));
  const links = await listLinks(host.rt, {kind: 'veth'});
  const stale = links.filter(({alias}) => isStaleTag(alias, call.name, kept));
  await everyStep(
    stale.map((link) => () => {
      call.log.info({link: link.name, alias: link.alias}, 'remove the veth pair of a container that is gone');
      return removeLink(host.rt, {ifindex: link.ifindex});
    }),
  );
}
