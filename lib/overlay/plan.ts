import {familyOf, formatIp, sameIp} from '../ip/address.ts';
import {containsIp, formatCidr, sameCidr} from '../ip/cidr.ts';
import {neighbourState, type Neighbour} from '../netlink/route/neighbour.ts';
import {routeType, type Route, type RouteSpec} from '../netlink/route/route.ts';
import {endEntry, everybody, type Operation} from './operation.ts';
import type {Actual, Desired, PeerRoute, PeerState} from './state.ts';

/** What is to be done, in the order that breaks nothing that works. */
export interface Plan {
  readonly operations: readonly Operation[];
  /** Sentences: something of the host's own is where a peer's route should go, and stays. */
  readonly obstacles: readonly {readonly peer: string; readonly text: string}[];
}

// linux/rtnetlink.h, RTPROT_*: the kernel's own routes, and those made "by hand", as flannel's are.
const protocolKernel = 2;
const protocolBoot = 3;

/**
 * What makes the kernel as it should be. First what is missing or different, peer by peer: a new neighbour, the end of the
 * tunnel, a changed neighbour, the route; then what nobody needs: routes, ends, neighbours. So a peer whose hardware
 * address changed has its new end before its neighbour leads there, and the old one goes last.
 */
export function planOverlay(desired: Desired, actual: Actual): Plan {
  const neighbours = new Map(actual.neighbours.map((entry) => [neighbourKey(entry), entry]));
  const ends = new Map(actual.ends.map((entry) => [endKey(entry), entry]));
  const routes = indexRoutes(desired, actual);
  const operations: Operation[] = [];
  const obstacles: {peer: string; text: string}[] = [];

  for (const state of desired.peers) {
    const {peer} = state;
    const changed: Operation[] = [];
    for (const entry of neighboursOf(state, desired, actual)) {
      const key = neighbourKey(entry);
      const found = neighbours.get(key);
      neighbours.delete(key);
      if (found === undefined) {
        operations.push({peer, kind: 'neighbour', action: 'set', why: 'missing', entry});
      } else if (found.lladdr !== entry.lladdr) {
        changed.push({peer, kind: 'neighbour', action: 'set', why: 'different', entry});
      }
    }
    for (const entry of endsOf(state, actual)) {
      const key = endKey(entry);
      const found = ends.get(key);
      ends.delete(key);
      if (found && sameIp(found.ip, entry.ip)) continue;
      operations.push({peer, kind: 'end', action: 'set', why: found ? 'different' : 'missing', entry});
    }
    operations.push(...changed);
    for (const route of routesOf(state, desired, actual)) {
      const key = formatCidr(route.dst);
      const found = routes.get(key);
      const obstacle = found?.find(({protocol}) => protocol === protocolKernel);
      if (obstacle) {
        // One of ours beside it is stale then.
        obstacles.push({peer, text: `${key} is a network of this host's own (link ${obstacle.ifindex})`});
        continue;
      }
      routes.delete(key);
      if (found?.some((each) => sameRoute(each, route))) continue;
      operations.push(...makeRoom(route, found ?? [], desired).map((each) => ({...each, peer})));
      operations.push({peer, kind: 'route', action: 'set', why: found ? 'different' : 'missing', route});
    }
  }

  for (const route of [...routes.values()].flat())
    if (isOurs(route, desired, actual))
      operations.push({kind: 'route', action: 'remove', why: 'stale', route: removalOf(route)});
  for (const {ifindex, lladdr: mac, ip: to} of ends.values())
    if (mac !== undefined)
      operations.push({kind: 'end', action: 'remove', why: 'stale', entry: endEntry(ifindex, {mac, to})});
  for (const {ifindex, ip} of neighbours.values())
    operations.push({kind: 'neighbour', action: 'remove', why: 'stale', entry: {ifindex, ip}});
  return {operations, obstacles};
}

/** What the kernel has after every operation for `desired` succeeded. */
export function assumeActual(desired: Desired, {devices}: Pick<Actual, 'devices'>): Actual {
  const actual: Actual = {devices, neighbours: [], ends: [], routes: []};
  return {
    devices,
    neighbours: desired.peers.flatMap((state) => neighboursOf(state, desired, actual)),
    ends: desired.peers.flatMap((state) => endsOf(state, actual)),
    routes: desired.peers.flatMap((state) =>
      routesOf(state, desired, actual).map((route) => ({
        ...route,
        ...{table: 254, scope: 0, type: routeType.unicast, priority: 0, flags: 0},
        protocol: desired.protocol,
      })),
    ),
  };
}

/** Whether a forwarding entry or a neighbour is one that somebody set, not learned or asked for. */
export function isPermanent({state = 0}: Neighbour): boolean {
  return (state & neighbourState.permanent) !== 0;
}

function neighbourKey({ifindex, ip}: Neighbour): string {
  return `${ifindex} ${ip ? formatIp(ip) : ''}`;
}

/** One hardware address has one end, but that of everybody as many as there are peers. */
function endKey({ifindex, lladdr, ip}: Neighbour): string {
  return lladdr === everybody ? `${ifindex} ${lladdr} ${ip ? formatIp(ip) : ''}` : `${ifindex} ${lladdr}`;
}

function neighboursOf({neighbours}: PeerState, {protocol}: Desired, {devices}: Actual): Neighbour[] {
  return neighbours.flatMap(({device, ip, mac}) => {
    const ifindex = devices.get(device);
    return ifindex === undefined
      ? []
      : [{ifindex, ip, lladdr: mac, protocol, state: neighbourState.permanent}];
  });
}

function endsOf({ends}: PeerState, {devices}: Actual): Neighbour[] {
  return ends.flatMap(({device, mac, to}) => {
    const ifindex = devices.get(device);
    return ifindex === undefined ? [] : [endEntry(ifindex, {mac, to})];
  });
}

function routesOf({routes}: PeerState, {protocol}: Desired, {devices}: Actual): RouteSpec[] {
  return routes.flatMap(({dst, gateway, via, mtu}: PeerRoute) => {
    const ifindex = 'device' in via ? devices.get(via.device) : via.ifindex;
    return ifindex === undefined ? [] : [{dst, gateway, ifindex, protocol, mtu, onlink: 'device' in via}];
  });
}

/** The routes of the main table that concern this network, by destination. */
function indexRoutes(desired: Desired, actual: Actual): Map<string, Route[]> {
  const byDestination = new Map<string, Route[]>();
  for (const route of actual.routes) {
    const key = formatCidr(route.dst);
    const same = byDestination.get(key);
    if (same) same.push(route);
    else byDestination.set(key, [route]);
  }
  return byDestination;
}

function sameRoute(found: Route, wanted: RouteSpec): boolean {
  return (
    found.type === routeType.unicast &&
    found.protocol === wanted.protocol &&
    found.ifindex === wanted.ifindex &&
    sameIp(found.gateway, wanted.gateway) &&
    found.onlink === wanted.onlink &&
    found.mtu === wanted.mtu &&
    sameCidr(found.dst, wanted.dst)
  );
}

/**
 * IPv6 refuses a gateway that is on the link of one device and is itself reached through another: by the very route that
 * is to be replaced. So that one goes first.
 */
function makeRoom(route: RouteSpec, found: readonly Route[], {protocol}: Desired): Operation[] {
  if (familyOf(route.dst.ip) === 4 || route.onlink !== true) return [];
  return found
    .filter((each) => each.protocol === protocol && each.ifindex !== route.ifindex)
    .map((each) => ({kind: 'route', action: 'remove', why: 'different', route: removalOf(each)}));
}

/** Marked as ours and of this network; or on its devices as flannel makes them. */
function isOurs(route: Route, {protocol, network}: Desired, {devices}: Actual): boolean {
  const isOnDevice = [...devices.values()].includes(route.ifindex ?? 0);
  if (route.protocol === protocol)
    return isOnDevice || network.ranges.some((range) => containsIp(range, route.dst.ip));
  return isOnDevice && route.protocol === protocolBoot && route.onlink === true;
}

function removalOf({dst, gateway, ifindex, protocol, priority}: Route): RouteSpec {
  return {dst, gateway, ifindex, protocol, priority: priority === 0 ? undefined : priority};
}
