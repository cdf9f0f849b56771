import type {Family} from '../ip/address.ts';
import {macFromBytes} from '../ip/mac.ts';
import {sha512} from '../netns/native.ts';

/**
 * The hardware address of a host's VTEP where nothing else names one: the same after a restart, a new device or a new
 * installation, so that peers never keep a stale one. Locally administered, unicast.
 */
export function deriveVtepMac({
  vni,
  node,
  family,
}: {
  readonly vni: number;
  /** The host's identity in the membership. */
  readonly node: string;
  /** Of the underlay. */
  readonly family: Family;
}): string {
  const bytes = sha512(JSON.stringify([vni, node, family])).subarray(0, 6);
  bytes[0] = (bytes[0]! & 0xfc) | 0x02;
  return macFromBytes(bytes);
}
