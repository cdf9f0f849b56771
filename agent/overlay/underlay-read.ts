import {listAddresses} from '../../lib/netlink/route/address.ts';
import {listLinks} from '../../lib/netlink/route/link.ts';
import {getRoute, listRoutes} from '../../lib/netlink/route/route.ts';
import type {RouteSocket} from '../../lib/netlink/route/socket.ts';
import {chooseUnderlay, type Underlay, type UnderlayChoice} from './underlay.ts';

/** Looks at this host's links and addresses and chooses the underlay; a sentence when there is none. */
export async function findUnderlay(
  rt: RouteSocket,
  choice: UnderlayChoice,
  before?: Underlay,
): Promise<Underlay | string> {
  const {canReach} = choice;
  const byRoute =
    choice.address === undefined && choice.interface === undefined && choice.interfacePattern === undefined;
  const [links, addresses, routes, reach] = await Promise.all([
    listLinks(rt),
    listAddresses(rt),
    byRoute && canReach === undefined ? listRoutes(rt) : [],
    byRoute && canReach !== undefined ? getRoute(rt, {dst: canReach}).catch(() => undefined) : undefined,
  ]);
  return chooseUnderlay({links, addresses, routes, reachIfindex: reach?.ifindex}, choice, before);
}
