import {allDone} from '../cni/every.ts';
import type {IpConfig, Route} from '../cni/types.ts';
import type {Sandbox} from '../host.ts';
import {familyOf, formatIp} from '../ip/address.ts';
import type {Ip} from '../ip/address.ts';
import {formatCidr, subnetOf} from '../ip/cidr.ts';
import type {Link} from '../netlink/route/link.ts';
import {addRoute, routeScope} from '../netlink/route/route.ts';

export interface ContainerRoutes {
  /** The container's addresses: a route without gateway takes one of theirs. */
  readonly ips: readonly IpConfig[];
  readonly routes: readonly Route[];
}

/** Gives the container the routes of a result, by its interface. */
export async function addRoutes(sandbox: Sandbox, link: Link, {ips, routes}: ContainerRoutes): Promise<void> {
  await allDone(distinct(routes).map((route) => addOne(sandbox, link, route, ips)));
}

function addOne(sandbox: Sandbox, link: Link, route: Route, ips: readonly IpConfig[]): Promise<void> {
  const gateway = gatewayOf(route, ips);
  const {mtu, advmss, priority, table} = route;
  // IPv4 takes a route without gateway for one to neighbours only if its scope says so.
  const scope = route.scope ?? (gateway || familyOf(route.dst.ip) === 6 ? undefined : routeScope.link);
  const spec = {
    dst: subnetOf(route.dst),
    gateway,
    ifindex: link.ifindex,
    mtu,
    advmss,
    priority,
    table,
    scope,
  };
  const text = `${formatCidr(route.dst)} via ${gateway ? formatIp(gateway) : '<nil>'} dev ${link.name}`;
  return addRoute(sandbox.rt, spec, {mode: 'prepend'}).catch((cause: unknown) => {
    throw new Error(`failed to add route '${text}'`, {cause});
  });
}

/** IPAM and `isDefaultGateway` may name the same route; the kernel refuses the second. */
function distinct(routes: readonly Route[]): readonly Route[] {
  const key = ({dst, gw, priority, table}: Route) =>
    [formatCidr(subnetOf(dst)), gw && formatIp(gw), priority, table].join(' ');
  return [...new Map(routes.map((route) => [key(route), route])).values()];
}

/**
 * The gateway of a route: its own, or the first one of its family that the addresses have. An IPv4 route whose
 * scope ends at the link goes to neighbours: the kernel takes none with a gateway.
 */
export function gatewayOf({gw, dst, scope = 0}: Route, ips: readonly IpConfig[]): Ip | undefined {
  const family = familyOf(dst.ip);
  if (gw || (family === 4 && scope >= routeScope.link)) return gw;
  return ips.find(({gateway}) => gateway && familyOf(gateway) === family)?.gateway;
}
