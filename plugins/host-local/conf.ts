import * as z from 'zod/mini';
import {parseArgs} from '../../lib/cni/args.ts';
import {compact} from '../../lib/cni/compact.ts';
import {parseConf} from '../../lib/cni/conf.ts';
import type {ConfCall} from '../../lib/cni/conf.ts';
import {CniError, errorCodes} from '../../lib/cni/error.ts';
import {cidrField, ipField, pathField, routeField} from '../../lib/cni/fields.ts';
import type {Call} from '../../lib/cni/plugin.ts';
import {findKey, prepareShape} from '../../lib/cni/shape.ts';
import type {Route} from '../../lib/cni/types.ts';
import {isAtLeast} from '../../lib/cni/versions.ts';
import {familyOf, formatIp, parseIp} from '../../lib/ip/address.ts';
import type {Ip} from '../../lib/ip/address.ts';
import {parseCidr} from '../../lib/ip/cidr.ts';
import {defaultDataDir, defaultIndexDir} from '../../lib/store/tree.ts';
import {planRangeSets} from './range.ts';
import type {RangeConf, RangeSet} from './range.ts';

const text = z.optional(z.string());
const path = z.optional(pathField);

const range = {
  subnet: z.optional(cidrField),
  rangeStart: z.optional(ipField),
  rangeEnd: z.optional(ipField),
  gateway: z.optional(ipField),
};
const rangeSets = z._default(z.array(z.array(z.object(range))), []);

/** An address that somebody asks for; a prefix length behind it says nothing. */
const requested = z.pipe(
  z.string(),
  z.transform((value, ctx): Ip => {
    const ip = parseRequested(value);
    if (ip) return ip;
    ctx.issues.push({code: 'custom', message: refusalOf(value), input: value});
    return z.NEVER;
  }),
);
const requests = z._default(z.array(requested), []);

const storeKeys = {dataDir: path, indexDir: path};

const schema = prepareShape(
  z.object({
    ipam: z.optional(
      z.object({
        type: text,
        ...range,
        ...storeKeys,
        ranges: rangeSets,
        routes: z._default(z.array(routeField), []),
        resolvConf: path,
        reclaimAfterReboot: z._default(z.boolean(), true),
        statusFailsWhenFull: z._default(z.boolean(), false),
      }),
    ),
    args: z.optional(z.looseObject({cni: z.optional(z.looseObject({ips: requests}))})),
    runtimeConfig: z.optional(z.looseObject({ips: requests, ipRanges: rangeSets})),
  }),
);

const storeSchema = prepareShape(z.object({ipam: z.optional(z.looseObject(storeKeys))}));

/** Where a network's reservations are: all that DEL and GC need to know. */
export interface StoreConf {
  readonly network: string;
  readonly dataDir: string;
  readonly indexDir: string;
}

/** What a call asks of host-local; every rule between keys has been checked. */
export interface HostLocalConf extends StoreConf {
  /** At least one; the container gets an address of each. */
  readonly sets: readonly RangeSet[];
  /** Addresses that were asked for, without repetition. */
  readonly requested: readonly Ip[];
  readonly routes: readonly Route[];
  readonly resolvConf: string | undefined;
  readonly reclaimAfterReboot: boolean;
  readonly statusFailsWhenFull: boolean;
}

/** Reads only what says where the reservations are, so that DEL works whatever else is wrong. */
export function parseStoreConf(call: ConfCall): StoreConf {
  const {ipam} = parseConf(call, storeSchema);
  if (!ipam) throw missingIpam();
  return storeConf(call, ipam);
}

/**
 * Reads and checks the whole configuration. Throws CniError: 7 for a value of a wrong type, 4 for CNI_ARGS, and as
 * the reference 999 with its sentences for the rules between keys.
 */
export function parseHostLocalConf(call: ConfCall & Pick<Call, 'args' | 'cniVersion'>): HostLocalConf {
  const {ipam, args, runtimeConfig} = parseConf(call, schema);
  if (!ipam) throw missingIpam();
  const fromEnv = parseIpArg(call.args);
  const asked = [...(fromEnv ? [fromEnv] : []), ...(args?.cni?.ips ?? []), ...(runtimeConfig?.ips ?? [])];
  const legacy = ipam.subnet ? [[ipam]] : [];
  return {
    ...storeConf(call, ipam),
    sets: planSets(call, [...(runtimeConfig?.ipRanges ?? []), ...legacy, ...ipam.ranges]),
    requested: [...new Map(asked.map((ip) => [formatIp(ip), ip])).values()],
    routes: ipam.routes.map(({gw, ...route}) => compact({...route, gw})),
    resolvConf: ipam.resolvConf || undefined,
    reclaimAfterReboot: ipam.reclaimAfterReboot,
    statusFailsWhenFull: ipam.statusFailsWhenFull,
  };
}

function storeConf(
  call: ConfCall,
  ipam: {dataDir?: string | undefined; indexDir?: string | undefined},
): StoreConf {
  return {
    network: call.name,
    dataDir: ipam.dataDir || defaultDataDir,
    indexDir: ipam.indexDir || defaultIndexDir,
  };
}

function planSets(
  call: ConfCall & Pick<Call, 'cniVersion'>,
  confs: readonly (readonly RangeConf[])[],
): RangeSet[] {
  if (confs.length === 0) {
    throw refuse('no IP ranges specified', 'set ipam.ranges, for example [[{"subnet": "10.22.0.0/16"}]]');
  }
  let sets: RangeSet[];
  try {
    sets = planRangeSets(confs);
  } catch (cause) {
    throw refuse((cause as Error).message, 'correct ipam.ranges (or runtimeConfig.ipRanges)', cause);
  }
  const perFamily = (family: 4 | 6) => sets.filter((set) => familyOf(set[0]!.start) === family).length;
  if ((perFamily(4) > 1 || perFamily(6) > 1) && !isAtLeast(call.cniVersion, '0.3.0')) {
    const version = findKey(call.conf, 'cniVersion') ?? '';
    throw refuse(
      `CNI version ${typeof version === 'string' ? version : ''} does not support more than 1 address per family`,
      'set cniVersion to 0.3.0 or later, or leave one range set per family',
    );
  }
  return sets;
}

function parseIpArg(args: string): Ip | undefined {
  const {IP: value} = parseArgs(args, ['IP']);
  if (value === undefined || value === '') return undefined;
  const ip = parseRequested(value);
  if (ip) return ip;
  throw new CniError(
    errorCodes.invalidEnvironment,
    `ARGS: error parsing value of pair ${JSON.stringify(`IP=${value}`)}: ${refusalOf(value)})`,
    'IP in CNI_ARGS is one address, with or without a prefix length',
  );
}

function parseRequested(value: string): Ip | undefined {
  return value.includes('/') ? parseCidr(value)?.ip : parseIp(value);
}

function refusalOf(value: string): string {
  return value === '' ? 'cannot understand ip: IP <nil> not v4 nor v6' : `invalid IP address ${value}`;
}

function missingIpam(): CniError {
  return refuse("IPAM config missing 'ipam' key", 'host-local is configured in the object "ipam"');
}

function refuse(msg: string, details: string, cause?: unknown): CniError {
  return new CniError(errorCodes.internal, msg, details, {cause});
}
