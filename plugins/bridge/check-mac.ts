import type {Interface} from '../../lib/cni/types.ts';
import {parseMac} from '../../lib/ip/mac.ts';
import type {Link} from '../../lib/netlink/route/link.ts';

/** Throws when a link's hardware address is not the one that the result of its ADD names. */
export function checkMac(entry: Interface, link: Link): void {
  if (!entry.mac || parseMac(entry.mac) === link.mac) return;
  throw new Error(
    `Interface ${link.name} Mac ${entry.mac} doesn't match: it is ${link.mac} (did udev or somebody else change it?)`,
  );
}
