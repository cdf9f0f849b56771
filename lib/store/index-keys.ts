import {familyOf, ipFromValue} from '../ip/address.ts';
import type {Ip} from '../ip/address.ts';

// How the index spells addresses and holders: an address as 128 bits, of which the upper 120 name a page of 256
// addresses and the lower 8 a bit in it.

/** Bytes of a page's bits. */
export const pageSize = 32;

/** An address as a number; an IPv4 address as ::ffff:a.b.c.d. */
export function keyOf(ip: Ip): bigint {
  return familyOf(ip) === 4 ? (0xffffn << 32n) | ip.value : ip.value;
}

export function ipOf(bytes: Buffer): Ip {
  const key = numberOf(bytes);
  return key >> 32n === 0xffffn ? ipFromValue(4, key & 0xffffffffn) : ipFromValue(6, key);
}

/** A key in network byte order. */
export function bytesOf(key: bigint): Buffer {
  const bytes = Buffer.alloc(16);
  bytes.writeBigUInt64BE(key >> 64n, 0);
  bytes.writeBigUInt64BE(key & 0xffffffffffffffffn, 8);
  return bytes;
}

export function numberOf(bytes: Buffer): bigint {
  return (bytes.readBigUInt64BE(0) << 64n) | bytes.readBigUInt64BE(8);
}

/** The first of the 256 addresses that share a page with this one. */
export function pageOf(key: bigint): bigint {
  return (key >> 8n) << 8n;
}

export function pageKey(key: bigint): Buffer {
  return bytesOf(pageOf(key));
}

/** Which bit of its page an address is. */
export function bitOf(ip: Ip): number {
  return Number(ip.value & 0xffn);
}

export function isSet(bits: Buffer, bit: number): boolean {
  return ((bits[bit >> 3]! >> (bit & 7)) & 1) === 1;
}

/** A copy of a page's bits with one of them changed. */
export function withBit(bits: Buffer, bit: number, to: 0 | 1): Buffer {
  const copy = Buffer.from(bits);
  const mask = 1 << (bit & 7);
  copy[bit >> 3] = to === 1 ? copy[bit >> 3]! | mask : copy[bit >> 3]! & ~mask;
  return copy;
}

/** 64 bits, only to find candidates by: whoever acts on one reads the reservation itself first. */
export function hashOf(holder: string): Buffer {
  let a = 0x811c9dc5;
  let b = 0x9747b28c;
  for (let i = 0; i < holder.length; i++) {
    const code = holder.charCodeAt(i);
    a = Math.imul(a ^ code, 0x01000193);
    b = Math.imul(b ^ code, 0x5bd1e995);
    b ^= b >>> 15;
  }
  const hash = Buffer.alloc(8);
  hash.writeInt32LE(a, 0);
  hash.writeInt32LE(b, 4);
  return hash;
}
