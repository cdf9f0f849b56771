import {formatIp, parseIp} from '../ip/address.ts';
import type {Ip} from '../ip/address.ts';

/** Whose an address is; without `ifName` in the format of the oldest releases of the Go plugin. */
export interface Holder {
  readonly containerId: string;
  readonly ifName?: string;
}

export interface Reservation {
  readonly ip: Ip;
  readonly holder: Holder;
}

/** The bytes of a reservation; as a string they are also what two holders are compared by. */
export function formatHolder({containerId, ifName}: Holder): string {
  return ifName === undefined ? containerId.trim() : `${containerId.trim()}\r\n${ifName}`;
}

/**
 * Reads a reservation. `undefined` for an empty one, which is free; a power failure can leave the right
 * length and only zeros, which is as empty.
 */
export function parseHolder(content: string): Holder | undefined {
  const text = content.replaceAll('\0', '').trim();
  if (text === '') return undefined;
  const end = text.indexOf('\r\n');
  if (end < 0) return {containerId: text};
  return {containerId: text.slice(0, end), ifName: text.slice(end + 2)};
}

/** The address a reservation's file name stands for; only the spelling that the plugins write counts. */
export function parseFileName(name: string): Ip | undefined {
  const ip = parseIp(name);
  return ip && formatIp(ip) === name ? ip : undefined;
}
