import {familyOf, formatIp, ipFromValue, type Ip} from '../../ip/address.ts';
import {formatCidr, type Cidr} from '../../ip/cidr.ts';
import {attrs, message} from '../attrs.ts';
import {ip, u32, u8} from '../codec.ts';
import type {Writer} from '../writer.ts';
import {isNotFound} from '../error.ts';
import {Flag, type Request} from '../message.ts';
import {struct} from '../struct.ts';
import {nexthops, onlinkFlag, type Nexthop} from './nexthop.ts';
import {afInet, afInet6, afUnspec, rtm, type RouteSocket} from './socket.ts';

/** struct rtmsg of linux/rtnetlink.h. */
export const rtmsg = struct({
  family: u8,
  dstPrefix: u8,
  srcPrefix: u8,
  tos: u8,
  table: u8,
  protocol: u8,
  scope: u8,
  type: u8,
  flags: u32,
});

/** linux/rtnetlink.h, enum RTAX_*. */
const metrics = attrs({mtu: [2, u32], advmss: [8, u32]});

/** linux/rtnetlink.h, enum rtattr_type_t. */
export const routeAttributes = attrs({
  dst: [1, ip],
  oif: [4, u32],
  gateway: [5, ip],
  priority: [6, u32],
  prefSrc: [7, ip],
  metrics: [8, metrics],
  multipath: [9, nexthops],
  table: [15, u32],
});
export const routeMessage = message(rtmsg, routeAttributes);

// linux/rtnetlink.h
const tableUnspec = 0;
const tableMain = 254;
const protocolBoot = 3;
const clonedFlag = 0x200;
const lookupTableFlag = 0x1000;

/** RTN_* */
export const routeType = {
  unicast: 1,
  local: 2,
  broadcast: 3,
  anycast: 4,
  multicast: 5,
  blackhole: 6,
  unreachable: 7,
} as const;
/** RT_SCOPE_* */
export const routeScope = {global: 0, site: 200, link: 253, host: 254, nowhere: 255} as const;

export interface RouteSpec {
  /** Where to; all host bits zero. 0.0.0.0/0 and ::/0 are the default routes. */
  readonly dst: Cidr;
  readonly gateway?: Ip | undefined;
  readonly ifindex?: number | undefined;
  /** The source address that packets get which have none. */
  readonly src?: Ip | undefined;
  /** Lower is preferred; 0 unless given, which IPv6 reads as 1024. */
  readonly priority?: number | undefined;
  /** 254, the main table, unless given. */
  readonly table?: number | undefined;
  /** RT_SCOPE_*; 0 (global) unless given. IPv6 has none. */
  readonly scope?: number | undefined;
  /** RTPROT_*: who made it; 3 ("boot", by hand) unless given. */
  readonly protocol?: number | undefined;
  /** RTN_*; unicast unless given. */
  readonly type?: number | undefined;
  readonly mtu?: number | undefined;
  readonly advmss?: number | undefined;
  readonly onlink?: boolean | undefined;
  /** Several ways instead of one gateway. */
  readonly multipath?: readonly Nexthop[] | undefined;
}

export interface Route extends RouteSpec {
  readonly table: number;
  readonly scope: number;
  readonly protocol: number;
  readonly type: number;
  readonly priority: number;
  /** RTM_F_* and RTNH_F_* */
  readonly flags: number;
}

const addModes = {exclusive: Flag.exclusive, prepend: 0, append: Flag.append, replace: Flag.replace} as const;

/** The requests behind the functions below, for those who send many at once (lib/netlink/pipeline.ts). */
export const routeRequests = {
  add: (route: RouteSpec, mode: keyof typeof addModes): Request => ({
    type: rtm.newRoute,
    flags: Flag.create | addModes[mode],
    body: (w) =>
      putRoute(w, route, {type: routeType.unicast, protocol: protocolBoot, scope: routeScope.global}),
    what: `add route ${describe(route)}`,
  }),
  remove: (route: RouteSpec): Request => ({
    type: rtm.delRoute,
    // A scope of "nowhere" and a type of 0 stand for any in a removal.
    body: (w) => putRoute(w, route, {scope: routeScope.nowhere, type: 0, protocol: 0}),
    what: `remove route ${describe(route)}`,
  }),
};

/**
 * Adds a route. `exclusive` (the default) is EEXIST if there is one to that destination with that priority; `prepend` puts
 * IPv4's before the others and makes IPv6's another way of the same route, EEXIST only if it is the very same;
 * `append` puts it behind; `replace` takes the place of what is there.
 */
export function addRoute(
  rt: RouteSocket,
  route: RouteSpec,
  {mode = 'exclusive'}: {readonly mode?: keyof typeof addModes} = {},
): Promise<void> {
  return rt.request(routeRequests.add(route, mode));
}

/** Removes the first route that has everything given; tells whether there was one. */
export async function removeRoute(rt: RouteSocket, route: RouteSpec): Promise<boolean> {
  try {
    await rt.request(routeRequests.remove(route));
    return true;
  } catch (error) {
    if (isNotFound(error)) return false;
    throw error;
  }
}

/** The routes of a table (`main` is 254, the default; 0 is all tables), a family, a link; cached clones are left out. */
export function listRoutes(
  rt: RouteSocket,
  {
    table = tableMain,
    family,
    ifindex,
  }: {readonly table?: number; readonly family?: 4 | 6; readonly ifindex?: number} = {},
): Promise<Route[]> {
  const wanted = family === undefined ? afUnspec : family === 4 ? afInet : afInet6;
  return rt.dump(
    {
      type: rtm.getRoute,
      body: (w) =>
        routeMessage.put(w, {
          header: {family: wanted},
          attributes: {table: table === tableUnspec ? undefined : table, oif: ifindex},
        }),
      what: 'list routes',
    },
    ({buffer, start, end}) => {
      const route = readRoute(buffer, start, end);
      // AF_UNSPEC brings multicast routing too, and kernels without strict checking send every table.
      const isWanted =
        route !== undefined &&
        (route.flags & clonedFlag) === 0 &&
        (table === tableUnspec || route.table === table) &&
        (ifindex === undefined || goesThrough(route, ifindex));
      return isWanted ? route : undefined;
    },
  );
}

/** The route a packet to this address would take; NetlinkError ENETUNREACH when there is none. */
export function getRoute(rt: RouteSocket, {dst}: {readonly dst: Ip}): Promise<Route> {
  const v4 = familyOf(dst) === 4;
  return rt.get(
    {
      type: rtm.getRoute,
      body: (w) =>
        routeMessage.put(w, {
          // IPv6 names the table unasked, and refuses the question.
          header: v4
            ? {family: afInet, dstPrefix: 32, flags: lookupTableFlag}
            : {family: afInet6, dstPrefix: 128},
          attributes: {dst},
        }),
      what: `get route to ${formatIp(dst)}`,
    },
    ({buffer, start, end}) => {
      const route = readRoute(buffer, start, end);
      if (!route) throw new Error('the answer is no route');
      return route;
    },
  );
}

function goesThrough(route: RouteSpec, ifindex: number): boolean {
  return route.ifindex === ifindex || (route.multipath?.some((hop) => hop.ifindex === ifindex) ?? false);
}

function describe({dst, gateway}: RouteSpec): string {
  return gateway ? `${formatCidr(dst)} via ${formatIp(gateway)}` : formatCidr(dst);
}

function putRoute(w: Writer, route: RouteSpec, otherwise: Pick<Route, 'scope' | 'type' | 'protocol'>): void {
  const {dst, gateway, ifindex, src, priority, table = tableMain, mtu, advmss, onlink, multipath} = route;
  routeMessage.put(w, {
    header: {
      family: familyOf(dst.ip) === 4 ? afInet : afInet6,
      dstPrefix: dst.prefix,
      // Tables above 255 do not fit here; the attribute counts.
      table: table > 255 ? tableUnspec : table,
      protocol: route.protocol ?? otherwise.protocol,
      scope: route.scope ?? otherwise.scope,
      type: route.type ?? otherwise.type,
      flags: onlink ? onlinkFlag : 0,
    },
    attributes: {
      dst: dst.prefix === 0 ? undefined : dst.ip,
      oif: ifindex,
      gateway,
      priority,
      prefSrc: src,
      metrics: mtu === undefined && advmss === undefined ? undefined : {mtu, advmss},
      multipath,
      table: table > 255 ? table : undefined,
    },
  });
}

function readRoute(b: Buffer, start: number, end: number): Route | undefined {
  const {family} = rtmsg.read(b, start);
  if (family !== afInet && family !== afInet6) return undefined;
  const {header, attributes: a} = routeMessage.get(b, start, end);
  return {
    dst: {ip: a.dst ?? ipFromValue(family === afInet ? 4 : 6, 0n), prefix: header.dstPrefix},
    gateway: a.gateway,
    ifindex: a.oif,
    src: a.prefSrc,
    priority: a.priority ?? 0,
    table: a.table ?? header.table,
    scope: header.scope,
    protocol: header.protocol,
    type: header.type,
    mtu: a.metrics?.mtu,
    advmss: a.metrics?.advmss,
    onlink: (header.flags & onlinkFlag) !== 0,
    multipath: a.multipath,
    flags: header.flags,
  };
}
