import {familyOf, formatIp, type Ip} from '../../ip/address.ts';
import {formatCidr, lastOf, type Cidr} from '../../ip/cidr.ts';
import {attrs, message} from '../attrs.ts';
import {ip, string, u32, u8} from '../codec.ts';
import type {Writer} from '../writer.ts';
import {isNotFound} from '../error.ts';
import {Flag} from '../message.ts';
import {struct} from '../struct.ts';
import {afInet, afInet6, afUnspec, rtm, type RouteSocket} from './socket.ts';

/** struct ifaddrmsg of linux/if_addr.h. */
export const ifaddrmsg = struct({family: u8, prefix: u8, flags: u8, scope: u8, ifindex: u32});

/** linux/if_addr.h, enum IFA_*. */
export const addressAttributes = attrs({
  // The other end of a point-to-point link, else the address itself.
  address: [1, ip],
  local: [2, ip],
  label: [3, string],
  broadcast: [4, ip],
  // struct ifa_cacheinfo: both lifetimes in seconds, 2^32-1 for ever; then when it was made and changed, in 1/100 s.
  cacheInfo: [6, struct({preferred: u32, valid: u32, created: u32, changed: u32})],
  flags: [8, u32],
});
export const addressMessage = message(ifaddrmsg, addressAttributes);

// linux/if_addr.h
const ifa = {noDad: 0x02, dadFailed: 0x08, tentative: 0x40, permanent: 0x80};

export interface Address extends Cidr {
  readonly ifindex: number;
  /** RT_SCOPE_*: 0 global, 253 link, 254 host. */
  readonly scope: number;
  /** IFA_F_* */
  readonly flags: number;
  /** IPv6: not usable before duplicate address detection ends. */
  readonly tentative: boolean;
  readonly dadFailed: boolean;
  /** The other end of a point-to-point link. */
  readonly peer: Ip | undefined;
  readonly broadcast: Ip | undefined;
}

/**
 * Puts an address on a link; EEXIST if the link has it. IPv4 gets the subnet's broadcast address below /31.
 * `noDad` skips the duplicate address detection of IPv6.
 */
export function addAddress(
  rt: RouteSocket,
  address: Cidr & {readonly ifindex: number; readonly scope?: number; readonly noDad?: boolean},
): Promise<void> {
  const {scope, noDad} = address;
  const broadcast = familyOf(address.ip) === 4 && address.prefix < 31 ? lastOf(address) : undefined;
  return rt.request({
    type: rtm.newAddr,
    flags: Flag.create | Flag.exclusive,
    body: (w) => putAddress(w, address, {scope, broadcast, flags: noDad ? ifa.noDad : 0}),
    what: `add address ${formatCidr(address)}`,
  });
}

/** Takes an address off a link; tells whether it (and the link) was there. */
export async function removeAddress(
  rt: RouteSocket,
  address: Cidr & {readonly ifindex: number},
): Promise<boolean> {
  try {
    await rt.request({
      type: rtm.delAddr,
      body: (w) => putAddress(w, address, {}),
      what: `remove address ${formatCidr(address)}`,
    });
    return true;
  } catch (error) {
    if (isNotFound(error)) return false;
    throw error;
  }
}

/** The addresses of the namespace, or of one link; both families or one. */
export function listAddresses(
  rt: RouteSocket,
  {ifindex, family}: {readonly ifindex?: number; readonly family?: 4 | 6} = {},
): Promise<Address[]> {
  const wanted = family === undefined ? afUnspec : family === 4 ? afInet : afInet6;
  return rt.dump(
    {
      type: rtm.getAddr,
      body: (w) => ifaddrmsg.putPart(w, {family: wanted, ifindex: ifindex ?? 0}),
      what: ifindex === undefined ? 'list addresses' : `list addresses of link ${ifindex}`,
    },
    ({buffer, start, end}) => {
      // Kernels without strict checking send everything.
      if (ifindex !== undefined && ifaddrmsg.read(buffer, start).ifindex !== ifindex) return undefined;
      return readAddress(buffer, start, end);
    },
  );
}

function putAddress(
  w: Writer,
  {ip, prefix, ifindex}: Cidr & {readonly ifindex: number},
  {scope = 0, broadcast, flags = 0}: {scope?: number | undefined; broadcast?: Ip | undefined; flags?: number},
): void {
  addressMessage.put(w, {
    header: {family: familyOf(ip) === 4 ? afInet : afInet6, prefix, ifindex, scope, flags},
    attributes: {local: ip, broadcast, address: ip},
  });
}

function readAddress(b: Buffer, start: number, end: number): Address | undefined {
  const {header, attributes: a} = addressMessage.get(b, start, end);
  // IPv6 has no IFA_LOCAL except with a peer.
  const own = a.local ?? a.address;
  if (!own) return undefined;
  const flags = a.flags ?? header.flags;
  return {
    ip: own,
    prefix: header.prefix,
    ifindex: header.ifindex,
    scope: header.scope,
    flags,
    tentative: (flags & ifa.tentative) !== 0,
    dadFailed: (flags & ifa.dadFailed) !== 0,
    peer: a.local && a.address && formatIp(a.local) !== formatIp(a.address) ? a.address : undefined,
    broadcast: a.broadcast,
  };
}
