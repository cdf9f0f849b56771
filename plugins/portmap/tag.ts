import {ownerKey} from '../../lib/cni/owner.ts';
import type {Owner} from '../../lib/cni/owner.ts';
import {cleanComment} from '../../lib/netlink/nft/userdata.ts';
import {sha512} from '../../lib/netns/native.ts';

/**
 * The comment of an attachment's elements: its key as everywhere, then the host's end of it, by which others see whether
 * it is still there, then names for people. `ports`: how many elements there are, for the one that speaks for all of them.
 */
export function portmapTag(
  owner: Owner,
  device: string | undefined,
  {ports}: {readonly ports?: number} = {},
): string {
  const count = ports === undefined ? '' : `ports: ${ports}, `;
  const dev = device === undefined ? '' : `dev: ${device}, `;
  const names = `net: ${owner.network}, if: ${owner.ifName}, id: ${owner.containerId}`;
  return cleanComment(`${ownerKey(owner)}, ${count}${dev}${names}`);
}

/** What a comment says; the id may be cut off. */
export interface Holder {
  readonly device: string | undefined;
  readonly network: string;
  readonly ifName: string;
  readonly containerId: string;
}

export function parsePortmapTag(tag: string): Holder | undefined {
  const match =
    /^[0-9a-f]{16}-[0-9a-f]{16}, (?:dev: ([^,]*), )?net: ([^,]*)(?:, if: ([^,]*))?(?:, id: (.*))?$/.exec(tag);
  if (!match) return undefined;
  const [, device, network = '', ifName = '', containerId = ''] = match;
  return {device, network, ifName, containerId};
}

/** How many mappings an attachment has, by the comment that speaks for all of them. */
export function countOf(tag: string): number | undefined {
  const count = /, ports: (\d+), /.exec(tag)?.[1];
  return count === undefined ? undefined : Number(count);
}

/** The key of an attachment among all that have mappings. */
export function ownerHash(owner: Owner): Buffer {
  return sha512(ownerKey(owner)).subarray(0, 8);
}
