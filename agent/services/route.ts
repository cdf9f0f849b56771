import type {Host} from '../../lib/host.ts';
import {familyOf, parseIp} from '../../lib/ip/address.ts';
import {containsIp, sameCidr, subnetOf, type Cidr} from '../../lib/ip/cidr.ts';
import {listAddresses} from '../../lib/netlink/route/address.ts';
import {listLinks} from '../../lib/netlink/route/link.ts';
import {addRoute, listRoutes, removeRoute, routeScope} from '../../lib/netlink/route/route.ts';
import type {RouteSocket} from '../../lib/netlink/route/socket.ts';

/** Who made our routes (RTPROT_*): ours to change and to remove. The overlay has another. */
const serviceProtocol = 123;

/**
 * A route to the services' addresses for programs of the host itself, by the link of an instance or else any bridge: the kernel wants one,
 * and a source address, before it looks at rules that lead elsewhere or refuse. Containers need none. Without services there is none.
 */
export async function ensureServiceRoutes(
  {rt}: Pick<Host, 'rt'>,
  {
    ranges,
    targets,
    isUsed,
  }: {
    readonly ranges: readonly Cidr[];
    readonly targets: readonly string[];
    readonly isUsed: boolean;
  },
): Promise<void> {
  const routes = await listRoutes(rt);
  const own = routes.filter(({protocol}) => protocol === serviceProtocol);
  const wanted = isUsed ? await planRoutes(rt, ranges, targets) : [];
  for (const {dst, ifindex} of own) {
    if (wanted.some((each) => sameCidr(each.dst, dst) && each.ifindex === ifindex)) continue;
    await removeRoute(rt, {dst, protocol: serviceProtocol, ifindex});
  }
  for (const {dst, ifindex} of wanted) {
    if (own.some((route) => sameCidr(dst, route.dst) && ifindex === route.ifindex)) continue;
    // Somebody's own route to there is left alone.
    if (routes.some((route) => route.protocol !== serviceProtocol && sameCidr(dst, route.dst))) continue;
    await addRoute(rt, {dst, ifindex, protocol: serviceProtocol, scope: routeScope.link}, {mode: 'replace'});
  }
}

async function planRoutes(rt: RouteSocket, ranges: readonly Cidr[], targets: readonly string[]) {
  const addresses = await listAddresses(rt);
  const bridges = new Set((await listLinks(rt, {kind: 'bridge'})).map(({ifindex}) => ifindex));
  const ips = targets.map((text) => parseIp(text)).filter((ip) => ip !== undefined);
  return ranges.flatMap((range) => {
    const family = familyOf(range.ip);
    const usable = addresses.filter(({ip, scope}) => familyOf(ip) === family && scope === routeScope.global);
    const link =
      usable.find((each) => ips.some((ip) => familyOf(ip) === family && containsIp(subnetOf(each), ip))) ??
      usable.find(({ifindex}) => bridges.has(ifindex));
    return link === undefined ? [] : [{dst: subnetOf(range), ifindex: link.ifindex}];
  });
}
