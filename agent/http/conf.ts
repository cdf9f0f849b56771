import * as z from 'zod/mini';
import {parseIp} from '../../lib/ip/address.ts';
import {textOf} from '../fields.ts';

/** The section `http` of the agent's configuration. */
export const httpShape = z.object({
  /** `127.0.0.1:9470` or `[::1]:9470`: /livez, /readyz and /metrics over TCP. */
  listen: z.optional(
    textOf(
      'an address and a port, such as "127.0.0.1:9470" or "[::1]:9470"',
      (value) => parseListen(value) !== undefined,
    ),
  ),
});

export interface ListenAddress {
  readonly host: string;
  readonly port: number;
}

/** Reads `address:port`; undefined for anything else. */
export function parseListen(value: string): ListenAddress | undefined {
  const [, inner, plain, digits] = /^(?:\[([0-9a-fA-F:.]+)\]|([0-9.]+)):(\d{1,5})$/.exec(value) ?? [];
  const host = inner ?? plain;
  const port = Number(digits);
  return host === undefined || parseIp(host) === undefined || port > 65_535 ? undefined : {host, port};
}
