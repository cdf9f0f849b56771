import {allDone} from '../../lib/cni/every.ts';
import {isOwnTag, ownerKey, ownerTag, shortHash, type Owner} from '../../lib/cni/owner.ts';
import type {Host} from '../../lib/host.ts';
import {isExists} from '../../lib/netlink/error.ts';
import {addLink, findLink, getLink, removeLink, setLink, type Link} from '../../lib/netlink/route/link.ts';
import {missingFeature} from './features.ts';

// linux/if.h, IFALIASZ, without the zero at the end.
const aliasBytes = 255;

/**
 * Names for the device that holds back what a container sends. The first is the reference's, which does not tell the
 * interfaces of one container apart; the second is for the next of them.
 */
export function ifbNames({network, containerId, ifName}: Owner): readonly [string, string] {
  return [
    `bwp${shortHash(`${network}${containerId}`, 12)}`,
    `bwp${shortHash(`${network} ${containerId} ${ifName}`, 12)}`,
  ];
}

/** What has the names of an attachment. */
export interface Ifbs {
  /** Of this attachment; one of the reference's has no tag and counts if none has. */
  readonly own: Link | undefined;
  /** A name that nothing has, if there is one. */
  readonly free: string | undefined;
}

export async function findIfbs(host: Host, owner: Owner): Promise<Ifbs> {
  const names = ifbNames(owner);
  const links = await Promise.all(names.map((name) => findLink(host.rt, {name})));
  const [first] = links;
  const tagged = links.find((link) => link && isIfb(link) && isOwnTag(link.alias, owner));
  const untagged = first && isIfb(first) && !first.alias ? first : undefined;
  return {own: tagged ?? untagged, free: names.find((_, i) => links[i] === undefined)};
}

function isIfb(link: Link): boolean {
  return link.info?.kind === 'ifb';
}

/** Whether an ADD of ours made it. */
export function isTagged(link: Link): boolean {
  return link.alias !== undefined && link.alias !== '';
}

/** Makes the device, up and with its owner's tag. */
export async function addIfb(
  host: Host,
  {name, mtu, owner}: {readonly name: string; readonly mtu: number; readonly owner: Owner},
): Promise<Link> {
  // An address that the kernel chose would be changed by udev.
  const digits = shortHash(`${name} ${ownerKey(owner)}`, 10);
  const mac = `02:${digits.replaceAll(/..(?!$)/g, '$&:')}`;
  // One datagram: nobody who kills us can leave a device without a tag.
  const added = addLink(host.rt, {name, mac, mtu, up: true, info: {kind: 'ifb'}});
  const tagged = setLink(host.rt, {name}, {alias: ownerTag(owner, aliasBytes)});
  const found = getLink(host.rt, {name});
  try {
    await allDone([added, tagged, found]);
    return await found;
  } catch (error) {
    // The name was free: what has it now is ours, unless it was taken in the meantime.
    if (!isExists(error)) await removeLink(host.rt, {name}).catch(() => {});
    throw missingFeature(error, 'ifb') ?? new Error(`adding link "${name}"`, {cause: error});
  }
}
