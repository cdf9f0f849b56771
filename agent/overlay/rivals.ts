import {formatCidr, overlap, sameCidr} from '../../lib/ip/cidr.ts';
import type {OverlayNetwork} from '../../lib/overlay/member.ts';
import {sameList} from './delta.ts';

/**
 * Why a network cannot be on a host together with another one that was there first; `undefined` where it can. Two of one VNI
 * would be one device, and of two with addresses in common each would take the other's routes for its own leavings.
 */
export function findRivalry(own: OverlayNetwork, others: readonly OverlayNetwork[]): string | undefined {
  for (const {name, vni, port, ranges} of others) {
    if (vni === own.vni && port === own.port)
      return `VNI ${vni} on port ${port} is that of network ${name} of this host; give one of the two another VNI`;
    const [mine, theirs] =
      own.ranges
        .flatMap((range) => ranges.map((each) => [range, each] as const))
        .find((pair) => overlap(...pair)) ?? [];
    if (mine && theirs)
      return `${formatCidr(mine)} overlaps ${formatCidr(theirs)} of network ${name} of this host; give each a range of its own`;
  }
  return undefined;
}

/** Whether two states of a network are the same for the others of a host. */
export function sameNetwork(a: OverlayNetwork, b: OverlayNetwork): boolean {
  return a.vni === b.vni && a.port === b.port && sameList(a.ranges, b.ranges, sameCidr);
}
