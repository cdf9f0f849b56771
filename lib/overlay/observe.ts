import {containsIp} from '../ip/cidr.ts';
import {familyOf} from '../ip/address.ts';
import {listNeighbours, neighbourFlag} from '../netlink/route/neighbour.ts';
import {listRoutes} from '../netlink/route/route.ts';
import {findLink} from '../netlink/route/link.ts';
import type {RouteSocket} from '../netlink/route/socket.ts';
import {isPermanent} from './plan.ts';
import type {Actual, Desired} from './state.ts';

/** Reads what the kernel has of a network: two lists per device and one of routes per family. */
export async function observeOverlay(
  rt: RouteSocket,
  {devices: specs, network, protocol}: Pick<Desired, 'devices' | 'network' | 'protocol'>,
): Promise<Actual> {
  const links = await Promise.all(specs.map(({name}) => findLink(rt, {name})));
  const devices = new Map(links.flatMap((link) => (link ? [[link.name, link.ifindex] as const] : [])));
  const indexes = [...devices.values()];
  const families = network.form === 'l2' ? [] : new Set(network.ranges.map(({ip}) => familyOf(ip)));
  const [neighbours, ends, routes] = await Promise.all([
    Promise.all(
      indexes.flatMap((ifindex) => ([4, 6] as const).map((family) => listNeighbours(rt, {ifindex, family}))),
    ),
    Promise.all(indexes.map((ifindex) => listNeighbours(rt, {ifindex, family: 'bridge'}))),
    Promise.all([...families].map((family) => listRoutes(rt, {family}))),
  ]);
  return {
    devices,
    neighbours: neighbours.flat().filter((entry) => isPermanent(entry)),
    // Of the device itself: the table of a bridge that it is a port of has entries for it, too.
    ends: ends
      .flat()
      .filter((entry) => isPermanent(entry) && ((entry.flags ?? 0) & neighbourFlag.self) !== 0),
    routes: routes
      .flat()
      .filter(
        (route) =>
          route.protocol === protocol ||
          indexes.includes(route.ifindex ?? 0) ||
          network.ranges.some((range) => containsIp(range, route.dst.ip)),
      ),
  };
}
