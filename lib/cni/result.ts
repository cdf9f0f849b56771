import type {output} from 'zod/v4/core';
import * as z from 'zod/mini';
import {compact} from './compact.ts';
import {CniError, errorCodes} from './error.ts';
import {describeFailure} from './failure.ts';
import {cidrField, dnsField, ipField, routeField} from './fields.ts';
import type {Call} from './plugin.ts';
import {findKey, prepareShape, readShape, ShapeError} from './shape.ts';
import type {Dns, Interface, IpConfig, Json, JsonObject, Result, Route} from './types.ts';

const currentShape = prepareShape(
  z.object({
    interfaces: z.optional(
      z.array(
        z.object({
          name: z._default(z.string(), ''),
          mac: z.optional(z.string()),
          mtu: z.optional(z.int()),
          sandbox: z.optional(z.string()),
          socketPath: z.optional(z.string()),
          pciID: z.optional(z.string()),
        }),
      ),
    ),
    ips: z.optional(
      z.array(
        z.object({
          version: z.optional(z.string()),
          interface: z.optional(z.int()),
          address: cidrField,
          gateway: z.optional(ipField),
        }),
      ),
    ),
    routes: z.optional(z.array(routeField)),
    dns: z.optional(dnsField),
  }),
);

const legacyIp = z.object({
  ip: cidrField,
  gateway: z.optional(ipField),
  routes: z.optional(z.array(z.object({dst: cidrField, gw: z.optional(ipField)}))),
});

const legacyShape = prepareShape(
  z.object({ip4: z.optional(legacyIp), ip6: z.optional(legacyIp), dns: z.optional(dnsField)}),
);

/** Versions that share a result type; a result must be of the family of its configuration. */
const families = [
  {versions: ['', '0.1.0', '0.2.0'], read: readLegacy},
  {versions: ['0.3.0', '0.3.1', '0.4.0'], read: readCurrent},
  {versions: ['1.0.0', '1.1.0'], read: readCurrent},
] as const;

/**
 * Reads a result of any version; `version` is the one it must agree with, and the one it has if it
 * says none. Throws plain errors in the reference's words.
 */
export function parseResult(json: Json, version: string): Result {
  if (json !== null && (typeof json !== 'object' || Array.isArray(json))) {
    throw new Error('the result is not an object');
  }
  const object = (json ?? {}) as JsonObject;
  const family = families.find(({versions}) => (versions as readonly string[]).includes(version));
  if (!family) throw new Error(`unsupported CNI result version ${JSON.stringify(version)}`);
  const stated = findKey(object, 'cniVersion') || version;
  if (typeof stated !== 'string' || !(family.versions as readonly string[]).includes(stated)) {
    throw new Error(
      `result type supports [${family.versions.join(' ')}] but unmarshalled CNIVersion is ${JSON.stringify(stated)}`,
    );
  }
  return family.read(object);
}

/** What a plugin printed on ADD, and the version it is in. */
export interface Output {
  readonly result: Result;
  readonly version: string;
}

/**
 * Reads what a plugin printed on ADD. It should be in the configuration's version, and is taken for
 * that where it states none, as old IPAM plugins do; "null" is an empty result. Throws the
 * reference's sentences (code 999).
 */
export function parseOutput(stdout: string, confVersion: string): Output {
  let json: Json;
  try {
    json = JSON.parse(stdout) as Json;
  } catch (error) {
    const reason = (error as Error).message;
    throw new CniError(errorCodes.internal, `failed to unmarshal raw result: ${reason} result ${stdout}`);
  }
  const isObject = json !== null && typeof json === 'object' && !Array.isArray(json);
  const stated = isObject ? findKey(json as JsonObject, 'cniVersion') : undefined;
  const version = typeof stated === 'string' && stated !== '' ? stated : confVersion;
  return {result: parseResult(json, version), version};
}

/**
 * The result of the plugins before this one, or of the whole ADD; `undefined` if the configuration
 * has none. Throws CniError 7 for one that cannot be read, except on DEL: there it is a warning,
 * because a DEL must clean up what it can.
 */
export function findPrevResult(call: Call): Result | undefined {
  const raw = findKey(call.conf, 'prevResult');
  if (raw === undefined) return undefined;
  try {
    return parseResult(raw, call.cniVersion);
  } catch (error) {
    const message = `could not parse prevResult: ${describeFailure(error)}`;
    if (call.command !== 'DEL') throw new CniError(errorCodes.invalidConfig, message);
    call.warn(`${message}; cleaning up without it`);
    return undefined;
  }
}

function readCurrent(json: JsonObject): Result {
  const {interfaces = [], ips = [], routes = [], dns} = read(currentShape, json);
  return {
    interfaces: interfaces.map((entry): Interface => compact(entry)),
    ips: ips.map(({interface: index, address, gateway}): IpConfig =>
      compact({interface: index, address, gateway}),
    ),
    routes: routes.map((route): Route => compact(route)),
    dns: readDns(dns),
  };
}

function readLegacy(json: JsonObject): Result {
  const {ip4, ip6, dns} = read(legacyShape, json);
  const families = [ip4, ip6].filter((entry) => entry !== undefined);
  return {
    interfaces: [],
    ips: families.map(({ip, gateway}): IpConfig => compact({address: ip, gateway})),
    routes: families.flatMap(({routes = []}) => routes.map((route): Route => compact(route))),
    dns: readDns(dns),
  };
}

function readDns(dns: output<typeof dnsField> | undefined): Dns {
  return compact(dns ?? {});
}

function read<S extends Parameters<typeof readShape>[0]>(shape: S, json: JsonObject): output<S> {
  try {
    return readShape(shape, json);
  } catch (error) {
    if (!(error instanceof ShapeError)) throw error;
    throw new Error(
      error.isOwnSentence ? `${error.message} at ${error.path}` : `${error.path}: ${error.message}`,
    );
  }
}
