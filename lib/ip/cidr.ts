import {bitsOf, familyOf, formatIp, ipFromValue, parseIp, sameIp} from './address.ts';
import type {Ip} from './address.ts';

/** An address with its prefix length; the host bits are kept ("10.1.0.7/24"). */
export interface Cidr {
  readonly ip: Ip;
  readonly prefix: number;
}

/** Reads "address/length" the way Go's net.ParseCIDR does; `undefined` for anything else. */
export function parseCidr(text: string): Cidr | undefined {
  const slash = text.indexOf('/');
  if (slash < 0) return undefined;
  const ip = parseIp(text.slice(0, slash));
  const length = text.slice(slash + 1);
  if (!ip || !/^(0|[1-9][0-9]{0,2})$/.test(length)) return undefined;
  let prefix = Number(length);
  // "::ffff:10.0.0.1/120" counts its length in IPv6 bits though the address is IPv4.
  if (familyOf(ip) === 4 && text.includes(':')) prefix -= 96;
  return prefix < 0 || prefix > bitsOf(familyOf(ip)) ? undefined : {ip, prefix};
}

export function formatCidr(cidr: Cidr): string {
  return `${formatIp(cidr.ip)}/${cidr.prefix}`;
}

/** The address with every host bit zero. */
export function networkOf(cidr: Cidr): Ip {
  const family = familyOf(cidr.ip);
  const shift = BigInt(bitsOf(family) - cidr.prefix);
  return ipFromValue(family, (cidr.ip.value >> shift) << shift);
}

/** The address with every host bit one: the broadcast address of an IPv4 subnet. */
export function lastOf(cidr: Cidr): Ip {
  const family = familyOf(cidr.ip);
  const hostBits = (1n << BigInt(bitsOf(family) - cidr.prefix)) - 1n;
  return ipFromValue(family, cidr.ip.value | hostBits);
}

/** The subnet itself: `cidr` with its host bits zero. */
export function subnetOf(cidr: Cidr): Cidr {
  return {ip: networkOf(cidr), prefix: cidr.prefix};
}

export function containsIp(cidr: Cidr, ip: Ip): boolean {
  const family = familyOf(cidr.ip);
  if (family !== familyOf(ip)) return false;
  // Numbers: making addresses is slow, and this is asked of thousands.
  const hostBits = BigInt(bitsOf(family) - cidr.prefix);
  return cidr.ip.value >> hostBits === ip.value >> hostBits;
}

export function overlap(a: Cidr, b: Cidr): boolean {
  return containsIp(a, b.ip) || containsIp(b, a.ip);
}

export function sameCidr(a: Cidr, b: Cidr): boolean {
  return a.prefix === b.prefix && sameIp(a.ip, b.ip);
}

/** The address alone, as a subnet: /32 or /128. */
export function hostCidr(ip: Ip): Cidr {
  return {ip, prefix: bitsOf(familyOf(ip))};
}

/** 0.0.0.0/0 or ::/0. */
export function isDefault(cidr: Cidr): boolean {
  return cidr.prefix === 0 && cidr.ip.value === 0n;
}
