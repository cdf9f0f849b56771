import {familyOf, ipFromValue, sameIp} from '../../lib/ip/address.ts';
import type {Ip} from '../../lib/ip/address.ts';
import type {IpConfig} from '../../lib/cni/types.ts';
import {containsIp, formatCidr, isDefault, parseCidr, sameCidr, subnetOf} from '../../lib/ip/cidr.ts';
import {routeScope, routeType} from '../../lib/netlink/route/route.ts';
import type {Route, RouteSpec} from '../../lib/netlink/route/route.ts';
import type {Rule} from '../../lib/netlink/route/rule.ts';

const firstTable = 100;
const mainTable = 254;
const lastTable = 0xffff_ffff;

/** What happens for one address. */
export interface AddressPlan {
  readonly table: number;
  readonly rule: Rule & {readonly src: NonNullable<Rule['src']>};
  /** Of its table, in an order in which the kernel takes them. */
  readonly routes: readonly RouteSpec[];
}

export interface Plan {
  readonly addresses: readonly AddressPlan[];
  /** What leaves the main table, because the tables have it. */
  readonly removed: readonly RouteSpec[];
  /** What the main table gets: routes to the subnets with the address as the source to use. */
  readonly hints: readonly RouteSpec[];
}

export interface Situation {
  readonly ifindex: number;
  /** All rules and all routes of the namespace. */
  readonly rules: readonly Rule[];
  readonly routes: readonly Route[];
}

export interface Wishes {
  readonly ips: readonly IpConfig[];
  readonly gateways: readonly Ip[];
  readonly addSourceHints: boolean;
}

/** The rule that sends what has this source address to a table. */
export function ruleFor({address: {ip}}: IpConfig, table: number): AddressPlan['rule'] {
  const family = familyOf(ip);
  return {family, table, src: {ip, prefix: family === 4 ? 32 : 128}};
}

/** Plans a table for each address, with the interface's routes that concern it, and what becomes of the main table. */
export function planTables({ifindex, rules, routes}: Situation, wishes: Wishes): Plan {
  const {ips, addSourceHints} = wishes;
  // Without an address of a family its routes would lead nowhere but the main table.
  const families = new Set(ips.map(({address}) => familyOf(address.ip)));
  const own = routes
    .filter(({table, dst}) => table === mainTable && families.has(familyOf(dst.ip)))
    .flatMap((route) => waysThrough(route, ifindex));
  const taken = new Set([...rules, ...routes].map(({table}) => table));
  const addresses = ips.map((ip): AddressPlan => {
    const table = takeTable(taken);
    return {table, rule: ruleFor(ip, table), routes: routesOf(ip, {table, own, ifindex, wishes})};
  });
  if (!addSourceHints) return {addresses, removed: gatewaysFirst(own), hints: []};
  const hints = planHints(ips, {ifindex, own});
  const isThere = (hint: RouteSpec) => own.some((route) => sameHint(hint, route));
  const isKept = (route: RouteSpec) =>
    hints.some((hint) => sameHint(hint, route)) ||
    (isDirect(route) && !hints.some((hint) => sameCidr(hint.dst, route.dst)));
  return {
    addresses,
    removed: gatewaysFirst(own.filter((route) => !isKept(route))),
    hints: hints.filter((hint) => !isThere(hint)),
  };
}

/** In reverse they can be put back: the kernel takes a gateway that it can reach. */
function gatewaysFirst(routes: readonly RouteSpec[]): readonly RouteSpec[] {
  return [...routes.filter((route) => !isDirect(route)), ...routes.filter(isDirect)];
}

function isDirect({gateway, multipath}: RouteSpec): boolean {
  return !gateway && !multipath;
}

/** The lowest number from 100 upward that no rule leads to and no route is in. */
function takeTable(taken: Set<number>): number {
  for (let table = firstTable; table <= lastTable; table++) {
    // Those of the kernel.
    if (table >= 253 && table <= 255) continue;
    if (taken.has(table)) continue;
    taken.add(table);
    return table;
  }
  throw new Error('all routing tables are in use');
}

const linkLocal = parseCidr('fe80::/10')!;

/**
 * A route as far as it goes through the link. IPv6 shows routes to one place by several links as one route with several
 * ways, and takes them as one each. What IPv6 keeps on each link for link-local addresses is nobody's to move.
 */
function waysThrough(route: Route, ifindex: number): readonly RouteSpec[] {
  if (route.type !== routeType.unicast) return [];
  if (containsIp(linkLocal, route.dst.ip)) return [];
  const {dst, src, priority, table, scope, protocol, mtu, advmss, onlink} = route;
  const same = {dst, src, priority, table, scope, protocol, mtu, advmss};
  if (!route.multipath) {
    return route.ifindex === ifindex ? [{...same, gateway: route.gateway, ifindex, onlink}] : [];
  }
  const hops = route.multipath.filter((hop) => hop.ifindex === ifindex);
  if (familyOf(dst.ip) === 6) {
    return hops.map((hop) => ({...same, gateway: hop.gateway, ifindex, onlink: hop.onlink}));
  }
  return hops.length === route.multipath.length ? [{...same, multipath: hops}] : [];
}

interface Sources {
  readonly table: number;
  readonly own: readonly RouteSpec[];
  readonly ifindex: number;
  readonly wishes: Wishes;
}

function routesOf(ip: IpConfig, {table, own, ifindex, wishes}: Sources): readonly RouteSpec[] {
  const family = familyOf(ip.address.ip);
  const chosen = wishes.gateways.find((each) => familyOf(each) === family);
  const gateway = chosen ?? ip.gateway;
  const copied = own
    .filter((route) => familyOf(route.dst.ip) === family && concerns(route, ip, wishes.ips))
    // A gateway that the configuration names takes the place of what was there.
    .filter((route) => !chosen || !isDefault(route.dst))
    .map((route) => ({...route, table}));
  const added = gateway && !copied.some(({dst}) => isDefault(dst));
  return [
    // The kernel takes a gateway that it can reach.
    ...copied.filter(isDirect),
    ...copied.filter((route) => !isDirect(route)),
    ...(added ? [{dst: {ip: ipFromValue(family, 0n), prefix: 0}, gateway, table, ifindex}] : []),
  ];
}

/**
 * Whether a route is one of this address: its gateway or its source is in the address's subnet, or in that of none of
 * the addresses (a link-local gateway), or it has neither.
 */
function concerns({src, gateway, multipath}: RouteSpec, ip: IpConfig, all: readonly IpConfig[]): boolean {
  const marks = [src, gateway, ...(multipath ?? []).map((hop) => hop.gateway)].filter(
    (mark) => mark !== undefined,
  );
  const isMarked = ({address}: IpConfig) => marks.some((mark) => containsIp(address, mark));
  return isMarked(ip) || !all.some(isMarked);
}

/** One route to each subnet of the addresses, with one of them as the source to use: as it is there, if it is. */
function planHints(
  ips: readonly IpConfig[],
  {ifindex, own}: {readonly ifindex: number; readonly own: readonly RouteSpec[]},
): readonly RouteSpec[] {
  const bySubnet = new Map<string, RouteSpec>();
  for (const {address} of ips) {
    const dst = subnetOf(address);
    const present = own.find((route) => sameCidr(route.dst, dst) && isDirect(route));
    const scope = familyOf(dst.ip) === 4 ? routeScope.link : undefined;
    const priority = present?.priority;
    const hint = {dst, ifindex, src: address.ip, scope, priority, table: mainTable};
    if (!bySubnet.has(formatCidr(dst)) || (present && sameHint(hint, present)))
      bySubnet.set(formatCidr(dst), hint);
  }
  return [...bySubnet.values()];
}

function sameHint(a: RouteSpec, b: RouteSpec): boolean {
  return sameCidr(a.dst, b.dst) && sameIp(a.gateway, b.gateway) && sameIp(a.src, b.src) && !b.multipath;
}
