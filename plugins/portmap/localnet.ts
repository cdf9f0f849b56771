import type {Host} from '../../lib/host.ts';
import type {Ip} from '../../lib/ip/address.ts';
import {NetlinkError} from '../../lib/netlink/error.ts';
import {getLink} from '../../lib/netlink/route/link.ts';
import {getRoute, routeType} from '../../lib/netlink/route/route.ts';

// 127.0.0.1 is refused on every link but lo, in both directions, until route_localnet says otherwise. Then it is accepted from
// whoever is on that link, too, which is why chain portmap-martians is there first.

/** No route, or one that refuses: unreachable, prohibit, blackhole. */
const noRoute = ['ENETUNREACH', 'EHOSTUNREACH', 'EACCES', 'EINVAL'];

/** The host's interface towards a container; `undefined` where there is none (macvlan, host-device). */
export async function findRouteInterface(host: Pick<Host, 'rt'>, container: Ip): Promise<string | undefined> {
  try {
    const {ifindex, type, gateway} = await getRoute(host.rt, {dst: container});
    // Behind a gateway is somebody else's network: the container is not on this host's.
    if (ifindex === undefined || type !== routeType.unicast || gateway) return undefined;
    const {name} = await getLink(host.rt, {ifindex});
    return name === 'lo' ? undefined : name;
  } catch (error) {
    if (error instanceof NetlinkError && noRoute.includes(error.code)) return undefined;
    throw error;
  }
}

export function routeLocalnetSysctl(interfaceName: string): string {
  return `net/ipv4/conf/${interfaceName}/route_localnet`;
}

/** Lets packets from and to 127.0.0.1 cross the interface. */
export function ensureRouteLocalnet(host: Pick<Host, 'sysctl'>, interfaceName: string): void {
  try {
    host.sysctl.ensure(routeLocalnetSysctl(interfaceName), '1');
  } catch (cause) {
    throw new Error('unable to enable route_localnet', {cause});
  }
}
