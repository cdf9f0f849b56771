import * as z from 'zod/mini';
import {parseArgs} from '../../lib/cni/args.ts';
import {compact} from '../../lib/cni/compact.ts';
import {parseConf} from '../../lib/cni/conf.ts';
import type {ConfCall} from '../../lib/cni/conf.ts';
import {CniError, errorCodes} from '../../lib/cni/error.ts';
import {dnsField, ipField, routeField} from '../../lib/cni/fields.ts';
import type {Call} from '../../lib/cni/plugin.ts';
import {findKey, prepareShape} from '../../lib/cni/shape.ts';
import type {Dns, IpConfig, Route} from '../../lib/cni/types.ts';
import {isAtLeast} from '../../lib/cni/versions.ts';
import {familyOf, parseIp} from '../../lib/ip/address.ts';
import type {Ip} from '../../lib/ip/address.ts';
import {containsIp, parseCidr} from '../../lib/ip/cidr.ts';
import type {Cidr} from '../../lib/ip/cidr.ts';

const text = z.optional(z.string());
const ips = z._default(z.array(z.string()), []);

// Addresses stay text here: those that are overridden are never looked at.
const schema = prepareShape(
  z.object({
    ipam: z.optional(
      z.object({
        type: text,
        addresses: z._default(z.array(z.object({address: text, gateway: z.optional(ipField)})), []),
        routes: z._default(z.array(routeField), []),
        dns: z.optional(dnsField),
      }),
    ),
    args: z.optional(z.looseObject({cni: z.optional(z.looseObject({ips}))})),
    runtimeConfig: z.optional(z.looseObject({ips})),
  }),
);

/** What a call asks of the static plugin: what its ADD answers. */
export interface StaticConf {
  readonly ips: readonly IpConfig[];
  readonly routes: readonly Route[];
  readonly dns: Dns;
}

/**
 * Reads the configuration with everything that adds to it or overrides it. Throws CniError: 4 for CNI_ARGS, 7 for
 * the rest, with the reference's sentences.
 */
export function parseStaticConf(call: ConfCall & Pick<Call, 'args' | 'cniVersion'>): StaticConf {
  const {ipam, args, runtimeConfig} = parseConf(call, schema);
  if (!ipam) throw refuse("IPAM config missing 'ipam' key", 'static is configured in the object "ipam"');
  // Read even where they are overridden: an argument nobody knows is an error.
  const fromEnvironment = parseEnvironment(call.args);
  const overriding = [runtimeConfig?.ips ?? [], args?.cni?.ips ?? []].find((list) => list.length > 0);
  const ips = overriding ? overriding.map(parseOverriding) : withArguments(ipam.addresses, fromEnvironment);
  checkFamilies(call, ips);
  return {ips, routes: ipam.routes.map((route): Route => compact(route)), dns: compact(ipam.dns ?? {})};
}

interface FromEnvironment {
  readonly addresses: readonly Cidr[];
  readonly gateways: readonly Ip[];
}

/** `IP` adds addresses; `GATEWAY` counts for every address in whose subnet it is, the configured ones too. */
function withArguments(
  configured: readonly {readonly address?: string | undefined; readonly gateway?: Ip | undefined}[],
  {addresses, gateways}: FromEnvironment,
): readonly IpConfig[] {
  const ips = configured.map(({address = '', gateway}, i): IpConfig => {
    const cidr = parseCidr(address);
    if (cidr) return gateway ? {address: cidr, gateway} : {address: cidr};
    throw refuse(
      `the 'address' field is expected to be in CIDR notation, got: '${address}'`,
      `ipam.addresses[${i}].address: write it as "10.1.0.7/24"`,
    );
  });
  return [...ips, ...addresses.map((address): IpConfig => ({address}))].map((ip) => {
    const gateway = gateways.findLast((each) => containsIp(ip.address, each));
    return gateway ? {...ip, gateway} : ip;
  });
}

function parseOverriding(entry: string): IpConfig {
  const address = parseCidr(entry);
  if (address) return {address};
  throw refuse(
    `an entry in the 'ips' field is NOT in CIDR notation, got: '${entry}'`,
    'runtimeConfig.ips and args.cni.ips are lists like ["10.1.0.7/24"]',
  );
}

function parseEnvironment(args: string): FromEnvironment {
  const {IP = '', GATEWAY = ''} = parseArgs(args, ['IP', 'GATEWAY']);
  return {
    addresses: split(IP).map((entry) => {
      const cidr = parseCidr(entry);
      if (cidr) return cidr;
      throw new CniError(
        errorCodes.invalidEnvironment,
        `the 'ip' field is expected to be in CIDR notation, got: '${entry}'`,
        'CNI_ARGS: IP=10.1.0.7/24,fd00::7/64',
      );
    }),
    gateways: split(GATEWAY).map((entry) => {
      const ip = parseIp(entry);
      if (ip) return ip;
      throw new CniError(
        errorCodes.invalidEnvironment,
        `invalid gateway address: ${entry}`,
        'CNI_ARGS: GATEWAY=10.1.0.1,fd00::1',
      );
    }),
  };
}

function split(list: string): readonly string[] {
  return list === '' ? [] : list.split(',').map((entry) => entry.trim());
}

/** Results of spec 0.2.0 and before have room for one address of each family. */
function checkFamilies(call: ConfCall & Pick<Call, 'cniVersion'>, ips: readonly IpConfig[]): void {
  if (isAtLeast(call.cniVersion, '0.3.0')) return;
  for (const family of [4, 6] as const) {
    if (ips.filter(({address}) => familyOf(address.ip) === family).length < 2) continue;
    const version = findKey(call.conf, 'cniVersion') ?? '';
    throw refuse(
      `CNI version ${typeof version === 'string' ? version : ''} does not support more than 1 address per family`,
      'set cniVersion to 0.3.0 or later, or leave one address of each family',
    );
  }
}

function refuse(msg: string, details: string): CniError {
  return new CniError(errorCodes.invalidConfig, msg, details);
}
