import {familyOf, formatIp, type Family} from '../ip/address.ts';
import {networkOf, type Cidr} from '../ip/cidr.ts';
import type {Conflict} from './claims.ts';
import type {DeviceSpec} from './device-spec.ts';
import type {Member, OverlayNetwork} from './member.ts';
import type {LocalSettings, PeerRoute, PeerState, TunnelEnd, TunnelNeighbour} from './state.ts';
import {findWay, whyNoWay} from './way.ts';

/** What the states of peers are planned from. */
export interface PlanContext {
  readonly network: OverlayNetwork;
  readonly self: Member;
  readonly peers: readonly Member[];
  readonly devices: readonly DeviceSpec[];
  readonly local: LocalSettings;
  /** States of before that are still right. */
  readonly known: WeakMap<Member, PeerState>;
  readonly report: (conflict: Conflict) => void;
}

/** A `routed` network: per peer and device one neighbour and one end, per subnet one route. */
export function planSubnets(context: PlanContext): readonly PeerState[] {
  const {known, peers, self} = context;
  // Without a subnet of a family there is nobody here to send from.
  const families = new Set(self.subnets.map(({ip}) => familyOf(ip)));
  return peers.map((peer) => {
    const before = known.get(peer);
    if (before) return before;
    const state = planPeer(peer, families, context);
    if (state.isWhole) known.set(peer, state.state);
    return state.state;
  });
}

function planPeer(
  peer: Member,
  families: ReadonlySet<Family>,
  {network, devices, local, report}: PlanContext,
): {readonly state: PeerState; readonly isWhole: boolean} {
  const neighbours: TunnelNeighbour[] = [];
  const ends: TunnelEnd[] = [];
  const routes: PeerRoute[] = [];
  let isWhole = true;
  for (const dst of peer.subnets) {
    if (!families.has(familyOf(dst.ip))) continue;
    const direct = network.directRouting ? findDirect(dst, peer, local) : undefined;
    if (direct) {
      routes.push(direct);
      continue;
    }
    const way = findWay(peer, familyOf(dst.ip), devices);
    if (!way) {
      report({kind: 'unreachable', value: whyNoWay(peer, devices), peer: peer.id});
      isWhole = false;
      continue;
    }
    const {name, mac, to, mtu} = way;
    const gateway = networkOf(dst);
    neighbours.push({device: name, ip: gateway, mac});
    if (!ends.some((end) => end.device === name)) ends.push({device: name, mac, to});
    routes.push({dst, gateway, via: {device: name}, mtu: mtuTo(peer, mtu, local)});
  }
  return {state: {peer: peer.id, neighbours, ends, routes}, isWhole};
}

/** The route that a peer on the same segment needs, of the family of its underlay address. */
function findDirect(dst: Cidr, {underlay}: Member, {direct}: LocalSettings): PeerRoute | undefined {
  const gateway = underlay.find((ip) => familyOf(ip) === familyOf(dst.ip));
  const ifindex = gateway && direct?.get(formatIp(gateway));
  return gateway && ifindex !== undefined ? {dst, gateway, via: {ifindex}} : undefined;
}

/** What a packet to this peer may have; `undefined` where that is what the device says. */
function mtuTo(peer: Member, deviceMtu: number, {pathMtu}: LocalSettings): number | undefined {
  const least = Math.min(peer.mtu ?? Infinity, pathMtu?.get(peer.id) ?? Infinity);
  return least < deviceMtu ? least : undefined;
}
