import * as z from 'zod/mini';
import {parseConf} from '../../lib/cni/conf.ts';
import {CniError, errorCodes} from '../../lib/cni/error.ts';
import type {Call} from '../../lib/cni/plugin.ts';
import {findPrevResult} from '../../lib/cni/result.ts';
import {findKey, prepareShape} from '../../lib/cni/shape.ts';
import type {IpConfig, Result} from '../../lib/cni/types.ts';
import {familyOf, parseIp} from '../../lib/ip/address.ts';
import type {Ip} from '../../lib/ip/address.ts';

const schema = prepareShape(
  z.object({
    table: z.optional(z.int()),
    gateways: z._default(z.array(z.string()), []),
    addSourceHints: z._default(z.boolean(), false),
  }),
);

/** What a call asks of the source based routing plugin; every rule between keys has been checked. */
export interface SbrConf {
  /** The table that somebody else fills; undefined: one of our own for each address. */
  readonly table: number | undefined;
  /** Take the place of the addresses' own gateways; at most one of each family. */
  readonly gateways: readonly Ip[];
  /** Leave the routes to the subnets in the main table, with the address as the source to use. */
  readonly addSourceHints: boolean;
  readonly previous: Result;
  /** The addresses of the interface. */
  readonly ips: readonly IpConfig[];
}

/** Reads and checks the configuration and the result of the plugins before. Throws CniError 7. */
export function parseSbrConf(call: Call): SbrConf {
  const {table, gateways, addSourceHints} = parseConf(call, schema);
  // The kernel has the numbers 253 to 255 for itself, but rules may lead to them.
  if (table !== undefined && (table < 1 || table > 0xffff_ffff)) {
    throw refuse(`invalid table ${table}`, '"table" goes from 1 to 4294967295');
  }
  if (table !== undefined && (gateways.length > 0 || addSourceHints)) {
    call.warn('"gateways" and "addSourceHints" have no effect together with "table"');
  }
  const previous = findPrevResult(call);
  if (!previous) throw refuse('This plugin must be called as chained plugin', 'it needs a prevResult');
  const ips = addressesOf(previous, call.ifName);
  if (ips.length === 0) {
    throw refuse(
      `No IP addresses supplied on interface: ${call.ifName}`,
      'the plugins before this one have to give it some: look at their "ipam"',
    );
  }
  return {table, gateways: parseGateways(gateways), addSourceHints, previous, ips};
}

/** The table of the configuration, read without complaint: all that DEL needs of it. */
export function findTable({conf}: Call): number | undefined {
  const table = findKey(conf, 'table');
  return typeof table === 'number' ? table : undefined;
}

/** An address that names no interface counts as one of ours. */
export function addressesOf({ips, interfaces}: Result, ifName: string): readonly IpConfig[] {
  return ips.filter(({interface: index}) => {
    const entry = index === undefined ? undefined : interfaces[index];
    return entry === undefined || entry.name === ifName;
  });
}

function parseGateways(texts: readonly string[]): readonly Ip[] {
  const gateways = texts.map((text) => {
    const ip = parseIp(text);
    if (ip) return ip;
    throw refuse(
      `invalid static gateway IP address: ${text}`,
      '"gateways" is a list like ["10.1.0.1", "fd00::1"]',
    );
  });
  for (const family of [4, 6] as const) {
    if (gateways.filter((ip) => familyOf(ip) === family).length < 2) continue;
    throw refuse(
      `more than one IPv${family} gateway: ${texts.join(', ')}`,
      '"gateways" has one of each family at most',
    );
  }
  return gateways;
}

function refuse(msg: string, details: string): CniError {
  return new CniError(errorCodes.invalidConfig, msg, details);
}
