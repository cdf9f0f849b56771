import {IPv4, IPv6} from 'ip-num';

/** An address; `.value` is the number, `instanceof IPv4` or `familyOf` tells which kind. */
export type Ip = IPv4 | IPv6;
export type Family = 4 | 6;

/**
 * Reads an address the way the reference does (Go's net.ParseIP): no leading zeros in IPv4, no zone,
 * and an IPv4-mapped IPv6 address is IPv4. `undefined` for anything else.
 */
export function parseIp(text: string): Ip | undefined {
  if (text.includes(':')) {
    const value = parseIpv6(text);
    if (value === undefined) return undefined;
    return value >> 32n === 0xffffn ? new IPv4(value & 0xffffffffn) : new IPv6(value);
  }
  const value = parseIpv4(text);
  return value === undefined ? undefined : new IPv4(BigInt(value));
}

function parseIpv4(text: string): number | undefined {
  const parts = text.split('.');
  if (parts.length !== 4) return undefined;
  let value = 0;
  for (const part of parts) {
    if (!/^(0|[1-9][0-9]{0,2})$/.test(part) || Number(part) > 255) return undefined;
    value = value * 256 + Number(part);
  }
  return value;
}

function parseIpv6(text: string): bigint | undefined {
  const halves = text.split('::');
  if (halves.length > 2) return undefined;
  const head = parseGroups(halves[0]!, halves.length === 1);
  const tail = halves.length === 2 ? parseGroups(halves[1]!, true) : [];
  if (head === undefined || tail === undefined) return undefined;
  const missing = 8 - head.length - tail.length;
  // "::" stands for at least one group.
  if (halves.length === 2 ? missing < 1 : missing !== 0) return undefined;
  const groups = [...head, ...Array<number>(missing).fill(0), ...tail];
  return groups.reduce((value, group) => (value << 16n) | BigInt(group), 0n);
}

function parseGroups(text: string, mayEndInIpv4: boolean): number[] | undefined {
  if (text === '') return [];
  const groups: number[] = [];
  const parts = text.split(':');
  for (const [i, part] of parts.entries()) {
    if (/^[0-9a-fA-F]{1,4}$/.test(part)) {
      groups.push(Number.parseInt(part, 16));
      continue;
    }
    const embedded = mayEndInIpv4 && i === parts.length - 1 ? parseIpv4(part) : undefined;
    if (embedded === undefined) return undefined;
    groups.push(embedded >>> 16, embedded & 0xffff);
  }
  return groups;
}

/** Dotted decimal, or RFC 5952: lower case, the longest run of two or more zero groups as "::". */
export function formatIp(ip: Ip): string {
  if (ip instanceof IPv4) {
    const value = Number(ip.value);
    return `${value >>> 24}.${(value >>> 16) & 255}.${(value >>> 8) & 255}.${value & 255}`;
  }
  const groups = Array.from({length: 8}, (_, i) => Number((ip.value >> BigInt(112 - 16 * i)) & 0xffffn));
  let start = -1;
  let length = 1;
  for (let i = 0; i < 8; i++) {
    let end = i;
    while (end < 8 && groups[end] === 0) end++;
    if (end - i > length) [start, length] = [i, end - i];
    if (end > i) i = end;
  }
  const hex = (part: number[]) => part.map((group) => group.toString(16)).join(':');
  return start < 0 ? hex(groups) : `${hex(groups.slice(0, start))}::${hex(groups.slice(start + length))}`;
}

export function familyOf(ip: Ip): Family {
  return ip instanceof IPv4 ? 4 : 6;
}

/** Number of bits of an address of this family. */
export function bitsOf(family: Family): 32 | 128 {
  return family === 4 ? 32 : 128;
}

export function ipFromValue(family: Family, value: bigint): Ip {
  return family === 4 ? new IPv4(value) : new IPv6(value);
}

/** Network byte order, 4 or 16 bytes. */
export function ipBytes(ip: Ip): Buffer {
  const size = bitsOf(familyOf(ip)) / 4;
  return Buffer.from(ip.value.toString(16).padStart(size, '0'), 'hex');
}

/** From 4 or 16 bytes in network byte order; a mapped IPv6 address stays IPv6. */
export function ipFromBytes(bytes: Buffer): Ip {
  if (bytes.length !== 4 && bytes.length !== 16) {
    throw new Error(`an address has 4 or 16 bytes, not ${bytes.length}`);
  }
  return ipFromValue(bytes.length === 4 ? 4 : 6, BigInt(`0x${bytes.toString('hex')}`));
}

export function sameIp(a: Ip | undefined, b: Ip | undefined): boolean {
  if (!a || !b) return a === b;
  return a.value === b.value && familyOf(a) === familyOf(b);
}
