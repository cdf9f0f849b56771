import * as z from 'zod/mini';
import {parseIp} from '../ip/address.ts';
import type {Ip} from '../ip/address.ts';
import {parseCidr} from '../ip/cidr.ts';
import type {Cidr} from '../ip/cidr.ts';
import {parseMac} from '../ip/mac.ts';

// Fields that configurations and results share, for zod schemas. A field refuses a text with the
// reference's sentence; the path is added by whoever reads.

/** "10.1.0.7/24" → Cidr with its host bits. */
export const cidrField = textField<Cidr>(parseCidr, (text) => `invalid CIDR address: ${text}`);

/** An address; "" counts as none, as it does for the reference. */
export const ipField = textField<Ip | undefined>(
  (text) => (text === '' ? {none: true} : parseIp(text)),
  (text) => `invalid IP address: ${text}`,
);

/** A hardware address in any of its three spellings → "aa:bb:cc:dd:ee:ff"; "" counts as none. */
export const macField = textField<string | undefined>(
  (text) => (text === '' ? {none: true} : parseMac(text)),
  (text) => `address ${text}: invalid MAC address`,
);

/** A path of a file or folder: whatever the kernel takes as one. */
export const pathField = z
  .string()
  .check(
    z.refine(isPath, {error: ({input}) => `${JSON.stringify(input)} is not a path: it has a zero byte`}),
  );

export function isPath(text: string): boolean {
  return !text.includes('\0');
}

/** A whole number that fits into an attribute of 32 bits. */
const uint32 = z.int().check(z.gte(0), z.lte(0xffff_ffff));

/** What spec 1.1.0 says a route has; `gw` "" is none. */
export const routeField = z.object({
  dst: cidrField,
  gw: z.optional(ipField),
  mtu: z.optional(uint32),
  advmss: z.optional(uint32),
  priority: z.optional(uint32),
  table: z.optional(uint32),
  scope: z.optional(z.int().check(z.gte(0), z.lte(255))),
});

export const dnsField = z.object({
  nameservers: z.optional(z.array(z.string())),
  domain: z.optional(z.string()),
  search: z.optional(z.array(z.string())),
  options: z.optional(z.array(z.string())),
});

function textField<T>(
  parse: (text: string) => NonNullable<T> | {none: true} | undefined,
  refusal: (text: string) => string,
) {
  return z.pipe(
    z.string(),
    z.transform((text, ctx): T => {
      const value = parse(text);
      if (value === undefined) {
        ctx.issues.push({code: 'custom', message: refusal(text), input: text});
        return z.NEVER;
      }
      return (isNone(value) ? undefined : value) as T;
    }),
  );
}

function isNone(value: unknown): boolean {
  return typeof value === 'object' && value !== null && 'none' in value;
}
