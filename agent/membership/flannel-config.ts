import * as z from 'zod/mini';
import {prepareShape, readShape, ShapeError} from '../../lib/cni/shape.ts';
import type {Json} from '../../lib/cni/types.ts';
import {bitsOf, familyOf, formatIp, ipFromValue, parseIp, type Family} from '../../lib/ip/address.ts';
import {
  containsIp,
  formatCidr,
  lastOf,
  networkOf,
  parseCidr,
  subnetOf,
  type Cidr,
} from '../../lib/ip/cidr.ts';

/** How one family of a network is divided among its hosts. */
export interface Division {
  readonly range: Cidr;
  /** Prefix length of a host's subnet. */
  readonly length: number;
  /** Network addresses of the first and last subnet that may be given. */
  readonly first: bigint;
  readonly last: bigint;
}

/** The network as `<prefix>/config` describes it. */
export interface FlannelConfig {
  readonly divisions: readonly Division[];
  readonly vni: number;
  readonly port: number;
  readonly directRouting: boolean;
}

const text = z._default(z.string(), '');
const whole = z._default(z.int(), 0);

const shape = prepareShape(
  z.object({
    Network: text,
    SubnetMin: text,
    SubnetMax: text,
    SubnetLen: whole,
    EnableIPv4: z._default(z.boolean(), true),
    EnableIPv6: z._default(z.boolean(), false),
    IPv6Network: text,
    IPv6SubnetMin: text,
    IPv6SubnetMax: text,
    IPv6SubnetLen: whole,
    Backend: z._default(
      z.looseObject({
        Type: text,
        VNI: z._default(z.int().check(z.gte(1), z.lte(0xff_ffff)), 1),
        Port: z._default(z.int().check(z.gte(0), z.lte(0xffff)), 0),
        DirectRouting: z._default(z.boolean(), false),
      }),
      {Type: '', VNI: 1, Port: 0, DirectRouting: false},
    ),
  }),
);

/**
 * Reads flannel's network configuration with its defaults (pkg/subnet/config.go). Throws an Error that names the key, its
 * value and the remedy; the backend has to be `vxlan` (or none named).
 */
export function parseFlannelConfig(json: string, where: string): FlannelConfig {
  const fail = (sentence: string): never => {
    throw new Error(`${where}: ${sentence}`);
  };
  try {
    const conf = readShape(shape, parseJson(json, fail));
    const {Backend: backend} = conf;
    if (backend.Type !== '' && backend.Type.toLowerCase() !== 'vxlan')
      fail(`Backend.Type: "${backend.Type}" is not what this overlay is made of; write "vxlan"`);
    const divisions = [
      ...(conf.EnableIPv4
        ? [
            divide(
              4,
              {range: conf.Network, length: conf.SubnetLen, min: conf.SubnetMin, max: conf.SubnetMax},
              fail,
            ),
          ]
        : []),
      ...(conf.EnableIPv6
        ? [
            divide(
              6,
              {
                range: conf.IPv6Network,
                length: conf.IPv6SubnetLen,
                min: conf.IPv6SubnetMin,
                max: conf.IPv6SubnetMax,
              },
              fail,
            ),
          ]
        : []),
    ];
    if (divisions.length === 0) fail('neither EnableIPv4 nor EnableIPv6 is true; switch one on');
    return {divisions, vni: backend.VNI, port: backend.Port || 8472, directRouting: backend.DirectRouting};
  } catch (error) {
    if (error instanceof ShapeError) return fail(`${error.path}: ${error.message}`);
    throw error;
  }
}

type Fail = (sentence: string) => never;

function parseJson(text: string, fail: Fail): Json {
  try {
    return JSON.parse(text) as Json;
  } catch (cause) {
    return fail(`is not JSON: ${(cause as Error).message}; write {"Network": "10.244.0.0/16"} or more`);
  }
}

function divide(
  family: Family,
  given: {readonly range: string; readonly length: number; readonly min: string; readonly max: string},
  fail: Fail,
): Division {
  const six = family === 6 ? 'IPv6' : '';
  const parsed = parseCidr(given.range);
  if (parsed === undefined || familyOf(parsed.ip) !== family) {
    const example = family === 4 ? '"10.244.0.0/16"' : '"fd00:10:244::/56"';
    return fail(`${six}Network: "${given.range}" is not a range of IPv${family}; write it as ${example}`);
  }
  const range = subnetOf(parsed);
  const length = lengthOf(family, range.prefix, given.length, fail);
  const size = 1n << BigInt(bitsOf(family) - length);
  const inside = (key: 'SubnetMin' | 'SubnetMax', value: string, fallback: bigint): bigint => {
    if (value === '') return fallback;
    const ip = parseIp(value);
    if (ip === undefined || !containsIp(range, ip))
      return fail(
        `${six}${key}: ${value} is not in the range of ${formatCidr(range)}; give the address of a subnet in it`,
      );
    const aligned = networkOf({ip, prefix: length});
    if (aligned.value !== ip.value)
      return fail(`${six}${key}: ${value} is not on a boundary of /${length}; write ${formatIp(aligned)}`);
    return ip.value;
  };
  const {value} = range.ip;
  // The first subnet is left out: its network address is that of the whole.
  const first = inside('SubnetMin', given.min, value + size);
  const last = inside('SubnetMax', given.max, lastOf(range).value + 1n - size);
  if (first > last)
    fail(`${six}SubnetMin: ${formatIp(ipFromValue(family, first))} lies after SubnetMax; exchange them`);
  return {range, length, first, last};
}

function lengthOf(family: Family, prefix: number, given: number, fail: Fail): number {
  const six = family === 6 ? 'IPv6' : '';
  const most = bitsOf(family) - 2;
  if (given === 0) {
    if (prefix > most - 2) fail(`${six}Network: /${prefix} is too small; /${most - 2} is the least`);
    const usual = family === 4 ? 24 : 64;
    return prefix <= usual - 2 ? usual : prefix + 2;
  }
  if (given > most) fail(`${six}SubnetLen: ${given} leaves no addresses; at most ${most}`);
  if (given < prefix + 2)
    fail(`${six}SubnetLen: ${given} divides /${prefix} into fewer than four subnets; at least ${prefix + 2}`);
  return given;
}
