import type {IpConfig} from '../../lib/cni/types.ts';
import {bitsOf, familyOf, formatIp, sameIp} from '../../lib/ip/address.ts';
import type {Ip} from '../../lib/ip/address.ts';
import {formatCidr, hostCidr, sameCidr, subnetOf} from '../../lib/ip/cidr.ts';
import type {Cidr} from '../../lib/ip/cidr.ts';
import {routeScope} from '../../lib/netlink/route/route.ts';
import type {RouteSpec} from '../../lib/netlink/route/route.ts';

/** Of a route: without the interface that it goes through. */
type Way = Omit<RouteSpec, 'ifindex'>;

/** What makes a point-to-point link of a pair of Ethernet interfaces. */
export interface LinkPlan {
  /** In the container: only the gateway is on the link … */
  readonly gateways: readonly Way[];
  /** … so that the kernel's own routes to the subnets go … */
  readonly onLink: readonly Way[];
  /** … and the subnets are behind the gateway. */
  readonly subnets: readonly Way[];
  /** On the host: the gateways, each alone. */
  readonly hostAddresses: readonly Cidr[];
  /** On the host: the way to each address of the container. */
  readonly hostRoutes: readonly Way[];
}

// linux/rtnetlink.h, RTPROT_KERNEL
const protocolKernel = 2;

/** Throws for an address that IPAM gave no gateway. */
export function planLink(ips: readonly IpConfig[]): LinkPlan {
  const all = ips.map(({address, gateway}) => ({address, gateway: gateway ?? missingGateway(address)}));
  const byGateway = distinct(all, ({gateway}) => formatIp(gateway));
  // The kernel makes no route for an address that is a subnet of its own.
  const inSubnets = all.filter(({address}) => address.prefix < bitsOf(familyOf(address.ip)));
  const bySubnet = distinct(inSubnets, ({address}) => formatCidr(subnetOf(address)));
  return {
    gateways: byGateway.map(({address, gateway}) => ({
      dst: hostCidr(gateway),
      src: sourceFor(address, gateway),
      scope: routeScope.link,
    })),
    onLink: bySubnet.map(({address}) => ({dst: subnetOf(address), protocol: protocolKernel})),
    subnets: bySubnet.map(({address, gateway}) => ({dst: subnetOf(address), gateway, src: address.ip})),
    hostAddresses: byGateway.map(({gateway}) => hostCidr(gateway)),
    hostRoutes: all.map(({address}) => ({dst: hostCidr(address.ip), scope: routeScope.host})),
  };
}

/** A source of the other family means nothing. */
function sourceFor({ip}: Cidr, gateway: Ip): Ip | undefined {
  return familyOf(ip) === familyOf(gateway) ? ip : undefined;
}

function distinct<T>(items: readonly T[], key: (item: T) => string): readonly T[] {
  const found = new Map<string, T>();
  for (const item of items) if (!found.has(key(item))) found.set(key(item), item);
  return [...found.values()];
}

function missingGateway(address: Cidr): never {
  throw new Error(
    `IPAM gave ${formatCidr(address)} no gateway, which ptp needs: the host takes it; set "gateway" in "ipam"`,
  );
}

/** Whether a route of the kernel is one of the plan, perhaps beside others to the same place. */
export function isRoute({dst, gateway, multipath}: RouteSpec, wanted: Way): boolean {
  const gateways = multipath?.map((hop) => hop.gateway) ?? [gateway];
  return sameCidr(dst, wanted.dst) && gateways.some((each) => sameIp(each, wanted.gateway));
}
