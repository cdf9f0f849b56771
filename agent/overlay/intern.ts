import {sameIp} from '../../lib/ip/address.ts';
import {sameCidr} from '../../lib/ip/cidr.ts';
import type {Endpoint, Member} from '../../lib/overlay/member.ts';
import type {Snapshot} from '../membership/membership.ts';
import {sameList} from './delta.ts';

/**
 * The snapshot with the objects of the one before wherever they say the same: what was worked out for a member is then known
 * to hold still, and one change among thousands costs little.
 */
export function internMembers(snapshot: Snapshot, before: Snapshot | undefined): Snapshot {
  if (!before) return snapshot;
  const known = new Map(before.peers.map((peer) => [peer.id, peer]));
  const peers = snapshot.peers.map((peer) => {
    const old = known.get(peer.id);
    return old && sameMember(old, peer) ? old : peer;
  });
  return {...snapshot, peers};
}

function sameMember(a: Member, b: Member): boolean {
  return (
    a === b ||
    (a.mtu === b.mtu &&
      a.seniority === b.seniority &&
      a.macs[4] === b.macs[4] &&
      a.macs[6] === b.macs[6] &&
      sameList(a.underlay, b.underlay, sameIp) &&
      sameList(a.subnets, b.subnets, sameCidr) &&
      (a.endpoints === undefined) === (b.endpoints === undefined) &&
      sameList(a.endpoints ?? [], b.endpoints ?? [], sameEndpoint))
  );
}

function sameEndpoint(a: Endpoint, b: Endpoint): boolean {
  return a.mac === b.mac && sameList(a.ips, b.ips, sameIp);
}
