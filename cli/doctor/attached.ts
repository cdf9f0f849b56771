import type {Host} from '../../lib/host.ts';
import {listLinks, type Link} from '../../lib/netlink/route/link.ts';

/** How lib/cni/owner.ts tags what belongs to an attachment. */
const tag = /^[0-9a-f]{16}-[0-9a-f]{16}, /;

/** The host ends of the veth pairs that weft made. */
export async function listAttached(host: Host): Promise<readonly Link[]> {
  const links = await listLinks(host.rt, {kind: 'veth'});
  return links.filter(({alias}) => alias !== undefined && tag.test(alias));
}
