import {familyOf, ipFromValue, sameIp} from '../../lib/ip/address.ts';
import type {Family, Ip} from '../../lib/ip/address.ts';
import {isDefault, networkOf, overlap} from '../../lib/ip/cidr.ts';
import type {Cidr} from '../../lib/ip/cidr.ts';
import type {IpConfig, Result, Route} from '../../lib/cni/types.ts';

/** What the bridge is to do with an IPAM result. */
export interface GatewayPlan {
  /** The addresses, each with its gateway. */
  readonly ips: readonly IpConfig[];
  readonly routes: readonly Route[];
  /** Addresses the host takes on the bridge, each with the prefix of its subnet. */
  readonly gateways: readonly Cidr[];
}

/**
 * Completes what IPAM gave: with `isGateway` every address without a gateway gets the first address of
 * its subnet, and the host takes it; with `isDefaultGateway` each family gets one default route by it.
 * A default route without a gateway (`{"dst": "0.0.0.0/0"}` in the IPAM configuration) takes the family's
 * gateway here, so that the same route is not added twice.
 */
export function planGateways(
  ipam: Pick<Result, 'ips' | 'routes'>,
  {isGateway, isDefaultGateway}: {isGateway: boolean; isDefaultGateway: boolean},
): GatewayPlan {
  const ips = ipam.ips.map((ip) => (ip.gateway || !isGateway ? ip : {...ip, gateway: firstOf(ip.address)}));
  const gateways = new Map<Family, Ip>();
  const taken: Cidr[] = [];
  for (const {address, gateway} of ips) {
    if (!gateway) continue;
    if (!gateways.has(familyOf(gateway))) gateways.set(familyOf(gateway), gateway);
    const cidr = {ip: gateway, prefix: address.prefix};
    if (isGateway && !taken.some((other) => sameIp(other.ip, gateway))) taken.push(cidr);
  }
  let routes = ipam.routes;
  if (isDefaultGateway) {
    for (const [family, gateway] of gateways) routes = withDefaultRoute(routes, family, gateway);
  }
  return {ips, routes, gateways: taken};
}

function withDefaultRoute(routes: readonly Route[], family: Family, gw: Ip): readonly Route[] {
  const isOurs = ({dst}: Route) => isDefault(dst) && familyOf(dst.ip) === family;
  if (routes.some((route) => isOurs(route) && route.gw)) return routes;
  if (routes.some(isOurs)) return routes.map((route) => (isOurs(route) ? {...route, gw} : route));
  return [...routes, {dst: {ip: ipFromValue(family, 0n), prefix: 0}, gw}];
}

/** The first host address of the subnet: network + 1. */
export function firstOf(address: Cidr): Ip {
  const network = networkOf(address);
  return ipFromValue(familyOf(network), network.value + 1n);
}

/**
 * Whether an address that the bridge already has stands in the way of a gateway address: any other IPv4
 * address, and an IPv6 address whose subnet overlaps (other IPv6 subnets live side by side).
 */
export function conflicts(present: Cidr, wanted: Cidr): boolean {
  if (familyOf(present.ip) !== familyOf(wanted.ip)) return false;
  return familyOf(present.ip) === 4 || overlap(present, wanted);
}
