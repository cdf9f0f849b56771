import {sha512} from '../netns/native.ts';

/** One attachment: what every kernel object that a plugin makes belongs to. */
export interface Owner {
  readonly network: string;
  readonly containerId: string;
  readonly ifName: string;
}

/** The first `length` hex digits of SHA-512, as the reference derives its names. */
export function shortHash(text: string, length = 16): string {
  return sha512(text).toString('hex').slice(0, length);
}

/** What the tag of every object of one network begins with. */
export function networkKey(network: string): string {
  return shortHash(network);
}

/** What the tag of every object of one attachment begins with: fixed length, whatever the names are. */
export function ownerKey({network, containerId, ifName}: Owner): string {
  return `${networkKey(network)}-${shortHash(`${ifName}:${containerId}`)}`;
}

/**
 * The tag itself: the key, then names for people. Cut to `maxBytes` (128 for an nftables comment, 255
 * for a link's alias); the key always fits. The reference tags its nftables rules in the same form.
 */
export function ownerTag(owner: Owner, maxBytes: number): string {
  const names = `net: ${owner.network}, if: ${owner.ifName}, id: ${owner.containerId}`;
  const tag = Buffer.from(`${ownerKey(owner)}, ${names}`.replaceAll('"', ''));
  // A character that is cut in two would come out as one of three bytes.
  return tag
    .subarray(0, maxBytes)
    .toString()
    .replace(/\ufffd$/, '');
}

/** Whether a tag says that an object belongs to this attachment. */
export function isOwnTag(tag: string | undefined, owner: Owner): boolean {
  return tag?.startsWith(`${ownerKey(owner)},`) ?? false;
}

/** Whether a tag says that an object belongs to an interface of another container, whatever the network. */
export function isTagOfOther(tag: string | undefined, {containerId, ifName}: Owner): boolean {
  const [, container] = /^[0-9a-f]{16}-([0-9a-f]{16}),/.exec(tag ?? '') ?? [];
  return container !== undefined && container !== shortHash(`${ifName}:${containerId}`);
}

/** Whether a tag names an attachment of `network` that is not among those to keep. */
export function isStaleTag(tag: string | undefined, network: string, keep: ReadonlySet<string>): boolean {
  const key = tag?.slice(0, tag.indexOf(','));
  return key !== undefined && key.startsWith(`${networkKey(network)}-`) && !keep.has(key);
}
