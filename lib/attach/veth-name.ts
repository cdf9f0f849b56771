import {isOwnTag, shortHash} from '../cni/owner.ts';
import type {Owner} from '../cni/owner.ts';
import type {Host} from '../host.ts';
import {findLink} from '../netlink/route/link.ts';
import type {Link} from '../netlink/route/link.ts';

const nameAttempts = 4;

/**
 * The host end's name. It follows from the owner, so that DEL finds it without a namespace. `attempt` counts
 * names that somebody else has.
 */
export function hostVethName({network, containerId, ifName}: Owner, attempt = 0): string {
  const salt = attempt === 0 ? '' : ` ${attempt}`;
  return `veth${shortHash(`${network} ${containerId} ${ifName}${salt}`, 8)}`;
}

/** A name for the host end, and the link of this owner that has it already, if any. */
export interface VethName {
  readonly name: string;
  readonly left: Link | undefined;
}

/** The first name that nobody else has. */
export async function findVethName(host: Host, owner: Owner): Promise<VethName> {
  for (let attempt = 0; attempt < nameAttempts; attempt++) {
    const name = hostVethName(owner, attempt);
    const left = await findLink(host.rt, {name});
    if (!left || isOwnVeth(left, owner)) return {name, left};
  }
  throw new Error(
    `failed to make veth pair: other links have the names ${hostVethName(owner)} and its substitutes`,
  );
}

/** By its tag: a name of eight digits could be anybody's. */
function isOwnVeth(link: Link, owner: Owner): boolean {
  return link.info?.kind === 'veth' && isOwnTag(link.alias, owner);
}
