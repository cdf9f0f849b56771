import {formatIp, type Ip} from '../ip/address.ts';
import {NetlinkError} from '../netlink/error.ts';
import {getRoute, routeType} from '../netlink/route/route.ts';
import type {RouteSocket} from '../netlink/route/socket.ts';

/**
 * Which of these addresses are on a segment of this host's own: reached through a link without a gateway, each with that
 * link's ifindex; by address as text. One question per address, many in one datagram; the answers hold until a route or
 * an address of the underlay changes.
 */
export async function findDirect(
  rt: RouteSocket,
  addresses: readonly Ip[],
): Promise<ReadonlyMap<string, number>> {
  const found = await Promise.all(
    addresses.map(async (ip) => {
      try {
        const {gateway, ifindex, type, multipath} = await getRoute(rt, {dst: ip});
        const isDirect = !gateway && !multipath && type === routeType.unicast && ifindex !== undefined;
        return isDirect ? [[formatIp(ip), ifindex] as const] : [];
      } catch (error) {
        // No route at all: the tunnel will not work either, but may later.
        if (error instanceof NetlinkError && unreachable.has(error.code)) return [];
        throw error;
      }
    }),
  );
  return new Map(found.flat());
}

const unreachable: ReadonlySet<string> = new Set(['ENETUNREACH', 'EHOSTUNREACH', 'EACCES', 'EINVAL']);
