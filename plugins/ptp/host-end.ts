import {allDone} from '../../lib/cni/every.ts';
import type {Call} from '../../lib/cni/plugin.ts';
import type {Host} from '../../lib/host.ts';
import {familyOf} from '../../lib/ip/address.ts';
import {formatCidr, sameCidr} from '../../lib/ip/cidr.ts';
import {isExists} from '../../lib/netlink/error.ts';
import {addAddress} from '../../lib/netlink/route/address.ts';
import {findLink} from '../../lib/netlink/route/link.ts';
import type {Link} from '../../lib/netlink/route/link.ts';
import {addRoute, listRoutes} from '../../lib/netlink/route/route.ts';
import type {RouteSpec} from '../../lib/netlink/route/route.ts';
import type {LinkPlan} from './plan.ts';

/** Gives the host its end of the link: the gateways as addresses, and the way to the container. */
export async function setUpHost(call: Call, host: Host, end: Link, plan: LinkPlan): Promise<void> {
  const {ifindex} = end;
  // Without duplicate detection, or the container would wait for its gateway for a second.
  const addresses = plan.hostAddresses.map((cidr) =>
    addAddress(host.rt, {...cidr, ifindex, noDad: familyOf(cidr.ip) === 6}).catch((cause: unknown) => {
      throw new Error(`failed to add IP addr ${formatCidr(cidr)} to "${end.name}"`, {cause});
    }),
  );
  const routes = plan.hostRoutes.map((way) => addHostRoute(call, host, {...way, ifindex}));
  await allDone([...addresses, ...routes]);
}

/** As with the reference, a route to this address that somebody else made is no error; but then it is the one that counts. */
async function addHostRoute(call: Call, host: Host, route: RouteSpec): Promise<void> {
  try {
    await addRoute(host.rt, route);
  } catch (cause) {
    const to = formatCidr(route.dst);
    if (!isExists(cause)) throw new Error(`failed to add route on host: ${to}`, {cause});
    const present = await listRoutes(host.rt);
    const other = present.find(({dst}) => sameCidr(dst, route.dst))?.ifindex;
    const link = other === undefined ? undefined : await findLink(host.rt, {ifindex: other});
    call.warn(
      `${to} has a route by "${link?.name ?? 'another link'}" already, so that packets to the container go there; ` +
        `ip route del ${to} if it is left over`,
    );
  }
}
