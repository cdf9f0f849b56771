import {familyOf, formatIp} from '../ip/address.ts';
import type {Endpoint, Member} from './member.ts';
import {everybody} from './operation.ts';
import type {PeerState} from './state.ts';
import type {PlanContext} from './subnets.ts';
import {findWay, whyNoWay} from './way.ts';

/**
 * An `l2` network: every container of a peer is an entry, so that nothing has to be asked across hosts. Where this host
 * publishes no endpoints (no agent), frames for everybody go to every host, and the rest is learned.
 */
export function planEndpoints(context: PlanContext): readonly PeerState[] {
  const {self, peers, devices, report} = context;
  const holders = new Map<string, string>();
  for (const endpoint of self.endpoints ?? []) for (const key of keysOf(endpoint)) holders.set(key, self.id);
  return peers.flatMap((peer) => {
    const way = devices[0] && findWay(peer, familyOf(devices[0].local), devices);
    if (way) return planPeer(peer, way, holders, context);
    report({kind: 'unreachable', value: whyNoWay(peer, devices), peer: peer.id});
    return [];
  });
}

type Way = NonNullable<ReturnType<typeof findWay>>;

function planPeer(
  peer: Member,
  {name: device, to}: Way,
  holders: Map<string, string>,
  {self, known, report}: PlanContext,
): PeerState {
  if (self.endpoints === undefined) {
    const state = {peer: peer.id, neighbours: [], ends: [{device, mac: everybody, to}], routes: []};
    return remember(peer, state, known);
  }
  const endpoints = (peer.endpoints ?? []).filter((endpoint) => {
    const keys = keysOf(endpoint);
    const taken = keys.find((key) => holders.has(key));
    if (taken === undefined) for (const key of keys) holders.set(key, peer.id);
    else report({kind: 'endpoint', value: taken, peer: peer.id, holder: holders.get(taken)});
    return taken === undefined;
  });
  const state = {
    peer: peer.id,
    neighbours: endpoints.flatMap(({ips, mac}) => ips.map((ip) => ({device, ip, mac}))),
    ends: endpoints.map(({mac}) => ({device, mac, to})),
    routes: [],
  };
  return endpoints.length === (peer.endpoints?.length ?? 0) ? remember(peer, state, known) : state;
}

/** The state of before, where it says the same: nothing but the member itself decided it. */
function remember(peer: Member, state: PeerState, known: WeakMap<Member, PeerState>): PeerState {
  const before = known.get(peer);
  if (before) return before;
  known.set(peer, state);
  return state;
}

function keysOf({ips, mac}: Endpoint): readonly string[] {
  return [mac, ...ips.map(formatIp)];
}
