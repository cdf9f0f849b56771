import {allDone} from '../../lib/cni/every.ts';
import type {Host} from '../../lib/host.ts';
import {familyOf} from '../../lib/ip/address.ts';
import {formatCidr, sameCidr} from '../../lib/ip/cidr.ts';
import type {Cidr} from '../../lib/ip/cidr.ts';
import {isDenied, isExists} from '../../lib/netlink/error.ts';
import {addAddress, listAddresses, removeAddress} from '../../lib/netlink/route/address.ts';
import {setLink} from '../../lib/netlink/route/link.ts';
import type {Link} from '../../lib/netlink/route/link.ts';
import {conflicts} from './gateway.ts';

export interface GatewayAddresses {
  /** What the host takes on the link. */
  readonly wanted: readonly Cidr[];
  /** Gateways of other ranges of the network: not in the way. */
  readonly allowed: readonly Cidr[];
  /** Remove what is in the way instead of failing. */
  readonly force: boolean;
}

/**
 * Gives the host its gateway addresses on the bridge (or on the link that stands for it in a VLAN), as the
 * reference does: another address that is in the way is an error, or with `force` removed.
 */
export async function ensureGatewayAddresses(
  host: Host,
  link: Link,
  {wanted, allowed, force}: GatewayAddresses,
): Promise<void> {
  const {ifindex} = link;
  const families = new Set(wanted.map(({ip}) => familyOf(ip)));
  // Of one family at a time: a list of all waits for the kernel's lock for changes of links.
  const lists = await Promise.all([...families].map((family) => listAddresses(host.rt, {ifindex, family})));
  const present = lists.flat();
  const missing = wanted.filter((cidr) => !present.some((other) => sameCidr(cidr, other)));
  if (missing.length === 0) return;
  const kept = [...wanted, ...allowed];
  for (const cidr of missing) {
    for (const other of present.filter((address) => isInTheWay(address, cidr, kept))) {
      if (!force) throw conflict(link, cidr, other);
      await removeAddress(host.rt, {...other, ifindex}).catch((cause: unknown) => {
        throw new Error(`could not remove IP address ${formatCidr(other)} from "${link.name}"`, {cause});
      });
    }
  }
  await allDone(missing.map((cidr) => addOne(host, link, cidr)));
  // Now that the bridge is somebody's gateway its hardware address must not change with its ports.
  if (link.mac !== '' && link.mac !== '00:00:00:00:00:00') {
    await setLink(host.rt, {ifindex}, {mac: link.mac}).catch((cause: unknown) => {
      throw new Error("could not set bridge's mac", {cause});
    });
  }
}

function isInTheWay(present: Cidr & {readonly scope: number}, wanted: Cidr, kept: readonly Cidr[]): boolean {
  // The link-local address that IPv6 makes itself overlaps with nothing of ours.
  if (familyOf(present.ip) === 6 && present.scope !== 0) return false;
  return conflicts(present, wanted) && !kept.some((cidr) => sameCidr(cidr, present));
}

function conflict(link: Link, wanted: Cidr, present: Cidr): Error {
  return new Error(
    `"${link.name}" already has an IP address different from ${formatCidr(wanted)}: it has ${formatCidr(present)}; ` +
      `remove that (ip addr del ${formatCidr(present)} dev ${link.name}), set "forceAddress": true, or give "bridge" another name`,
  );
}

async function addOne(host: Host, {ifindex, name}: Link, cidr: Cidr): Promise<void> {
  try {
    // Without duplicate detection, or containers would wait for their gateway for a second.
    await addAddress(host.rt, {...cidr, ifindex, noDad: familyOf(cidr.ip) === 6});
  } catch (cause) {
    // Another ADD was quicker.
    if (isExists(cause)) return;
    const remedy =
      familyOf(cidr.ip) === 6 && isDenied(cause) ? ` (sysctl -w net/ipv6/conf/${name}/disable_ipv6=0)` : '';
    throw new Error(`could not add IP address ${formatCidr(cidr)} to "${name}"${remedy}`, {cause});
  }
}
