import * as z from 'zod/mini';
import {parseIp} from '../lib/ip/address.ts';

/** A text that has to be of some form: `expected` completes "expected ...", for the message. */
export function textOf(expected: string, holds: (text: string) => boolean) {
  return z.string().check(
    z.refine(holds, {
      error: ({input}) => `expected ${expected}, found ${JSON.stringify(input)}`,
    }),
  );
}

/** A path that means the same from every working folder. */
export const absolutePath = textOf(
  'a path that begins with "/"',
  (path) => path.startsWith('/') && !path.includes('\0'),
);

/** Where a server listens, as text. */
export const listenAddress = textOf(
  'an address and a port, such as "127.0.0.1:9470" or "[::1]:9470"',
  (value) => parseListen(value) !== undefined,
);

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
