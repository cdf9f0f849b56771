import {formatIp, ipFromBytes} from '../../ip/address.ts';
import {macFromBytes} from '../../ip/mac.ts';

// nft's numbers of data types (its include/datatype.h); the kernel only stores them, nft lists by them.
// `order` 1 is host order, 2 network order.
const types = {
  /** A number that an expression computed; nft has no word for it. */
  integer: {number: 4, bytes: 4, order: 1},
  ipv4_addr: {number: 7, bytes: 4, order: 2},
  ipv6_addr: {number: 8, bytes: 16, order: 2},
  ether_addr: {number: 9, bytes: 6, order: 1},
  inet_proto: {number: 12, bytes: 1, order: 2},
  inet_service: {number: 13, bytes: 2, order: 2},
  mark: {number: 19, bytes: 4, order: 1},
  ifname: {number: 41, bytes: 16, order: 1},
} as const;

type DataType = keyof typeof types;

/** The type of a key or a value: one name, or several for a concatenation. */
export type SetType = DataType | readonly DataType[];

const bitsPerType = 6;

function partsOf(type: SetType): readonly DataType[] {
  return typeof type === 'string' ? [type] : type;
}

export function typeNumber(type: SetType): number {
  return partsOf(type).reduce((number, part) => (number << bitsPerType) | types[part].number, 0);
}

/** Size in bytes; each part of a concatenation fills whole 32-bit registers. */
export function typeBytes(type: SetType): number {
  const parts = partsOf(type);
  if (parts.length === 1) return types[parts[0]!].bytes;
  return parts.reduce((size, part) => size + roundUp(types[part].bytes), 0);
}

/** nft's byte order of a type: 0 where it has none of its own. */
export function typeOrder(type: SetType): 0 | 1 | 2 {
  const parts = partsOf(type);
  return parts.length === 1 ? types[parts[0]!].order : 0;
}

export function formatType(type: SetType): string {
  return partsOf(type).join(' . ');
}

/** A key or a value as nft writes it. */
export function formatValue(type: SetType, bytes: Uint8Array): string {
  let at = 0;
  return partsOf(type)
    .map((part) => {
      const size = types[part].bytes;
      const text = formatPart(part, Buffer.from(bytes.subarray(at, at + size)));
      at += roundUp(size);
      return text;
    })
    .join(' . ');
}

function formatPart(type: DataType, bytes: Buffer): string {
  switch (type) {
    case 'ipv4_addr':
    case 'ipv6_addr':
      return formatIp(ipFromBytes(bytes));
    case 'ether_addr':
      return macFromBytes(bytes);
    case 'inet_proto':
      return String(bytes[0]);
    case 'inet_service':
      return String(bytes.readUInt16BE());
    case 'mark':
      return `0x${bytes.readUInt32LE().toString(16).padStart(8, '0')}`;
    case 'integer':
      return String(bytes.readUInt32LE());
    case 'ifname':
      return `"${bytes.toString('utf8', 0, Math.max(bytes.indexOf(0), 0) || bytes.length)}"`;
  }
}

function roundUp(size: number): number {
  return (size + 3) & ~3;
}
