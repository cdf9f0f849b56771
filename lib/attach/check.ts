import type {Interface, IpConfig, Result, Route} from '../cni/types.ts';
import type {Host, Sandbox} from '../host.ts';
import {formatIp, sameIp} from '../ip/address.ts';
import {formatCidr, sameCidr, subnetOf} from '../ip/cidr.ts';
import {parseMac} from '../ip/mac.ts';
import {listAddresses} from '../netlink/route/address.ts';
import {findLink} from '../netlink/route/link.ts';
import type {Link} from '../netlink/route/link.ts';
import {listRoutes} from '../netlink/route/route.ts';

/** Throws when a link's hardware address is not the one that the result of its ADD names. */
export function checkMac(entry: Interface, link: Link): void {
  if (!entry.mac || parseMac(entry.mac) === link.mac) return;
  throw new Error(
    `Interface ${link.name} Mac ${entry.mac} doesn't match: it is ${link.mac} (did udev or somebody else change it?)`,
  );
}

/** The addresses of a link by a result that may have others, of other plugins in a chain. */
export function addressesOf({ips, interfaces}: Result, link: string): readonly IpConfig[] {
  return ips.filter(({interface: index}) => index === undefined || interfaces[index]?.name === link);
}

/** Of the result's interfaces of the host, the one that is the other end of the container's link; `not` is none. */
export async function findHostEnd(
  host: Host,
  container: Link,
  {interfaces}: Result,
  {not}: {readonly not?: string} = {},
): Promise<Link> {
  for (const entry of interfaces) {
    if (entry.sandbox || entry.name === not) continue;
    const end = await findLink(host.rt, {name: entry.name});
    if (!end || end.info?.kind !== 'veth' || end.ifindex !== container.link) continue;
    if (end.link !== container.ifindex) continue;
    checkMac(entry, end);
    return end;
  }
  throw new Error(`no interface of prevResult is the host end of "${container.name}"`);
}

export async function checkAddresses(sandbox: Sandbox, link: Link, ips: readonly IpConfig[]): Promise<void> {
  const present = await listAddresses(sandbox.rt, {ifindex: link.ifindex});
  for (const {address} of ips) {
    if (present.some((other) => sameCidr(other, address))) continue;
    throw new Error(`Failed to match addr ${formatCidr(address)} on interface ${link.name}`);
  }
}

export async function checkRoutes(sandbox: Sandbox, {routes}: Result): Promise<void> {
  if (routes.length === 0) return;
  const present = await listRoutes(sandbox.rt, {table: 0});
  const isThere = ({dst, gw, table}: Route) =>
    present.some((route) => {
      const ways = route.multipath?.map(({gateway}) => gateway) ?? [route.gateway];
      return (
        sameCidr(route.dst, subnetOf(dst)) &&
        // A plugin behind us in the chain may have moved it, as sbr does.
        (!table || route.table === table) &&
        (gw === undefined || ways.some((way) => sameIp(way, gw)))
      );
    });
  for (const route of routes) {
    if (isThere(route)) continue;
    const via = route.gw ? ` via ${formatIp(route.gw)}` : '';
    throw new Error(`Expected Route ${formatCidr(route.dst)}${via} not found in routing table`);
  }
}
