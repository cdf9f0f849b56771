import {familyOf, formatIp} from '../ip/address.ts';
import type {Conflict} from './claims.ts';
import type {DeviceSpec} from './device-spec.ts';
import type {Endpoint, Member} from './member.ts';
import {everybody} from './operation.ts';
import type {PeerState, TunnelEnd, TunnelNeighbour} from './state.ts';
import {findWay, whyNoWay} from './way.ts';

/**
 * An `l2` network: every container of a peer is an entry, so that nothing has to be asked across hosts. Where this host
 * publishes no endpoints (no agent), frames for everybody go to every host, and the rest is learned.
 */
export function planEndpoints(
  self: Member,
  peers: readonly Member[],
  devices: readonly DeviceSpec[],
): {readonly states: readonly PeerState[]; readonly conflicts: readonly Conflict[]} {
  const conflicts: Conflict[] = [];
  const holders = new Map<string, string>();
  for (const endpoint of self.endpoints ?? []) for (const key of keysOf(endpoint)) holders.set(key, self.id);
  const states: PeerState[] = [];
  for (const peer of peers) {
    const way = devices[0] && findWay(peer, familyOf(devices[0].local), devices);
    if (!way) {
      conflicts.push({kind: 'unreachable', value: whyNoWay(peer, devices), peer: peer.id});
      continue;
    }
    const {name: device, to} = way;
    const state = {peer: peer.id, routes: []};
    if (self.endpoints === undefined) {
      states.push({...state, neighbours: [], ends: [{device, mac: everybody, to}]});
      continue;
    }
    const neighbours: TunnelNeighbour[] = [];
    const ends: TunnelEnd[] = [];
    for (const endpoint of peer.endpoints ?? []) {
      const taken = keysOf(endpoint).find((key) => holders.has(key));
      if (taken !== undefined) {
        conflicts.push({kind: 'endpoint', value: taken, peer: peer.id, holder: holders.get(taken)});
        continue;
      }
      for (const key of keysOf(endpoint)) holders.set(key, peer.id);
      for (const ip of endpoint.ips) neighbours.push({device, ip, mac: endpoint.mac});
      ends.push({device, mac: endpoint.mac, to});
    }
    states.push({...state, neighbours, ends});
  }
  return {states, conflicts};
}

function keysOf({ips, mac}: Endpoint): readonly string[] {
  return [mac, ...ips.map(formatIp)];
}
