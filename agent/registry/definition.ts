import * as z from 'zod/mini';
import {prepareShape, readShape, ShapeError} from '../../lib/cni/shape.ts';
import type {Json} from '../../lib/cni/types.ts';
import {findNameFault} from '../../lib/discovery/names.ts';
import {familyOf, formatIp, parseIp} from '../../lib/ip/address.ts';
import {formatCidr, parseCidr, type Cidr} from '../../lib/ip/cidr.ts';
import type {ServiceDefinition} from '../catalog/model.ts';
import {chooseAddress} from './addresses.ts';
import {RegistryError} from './registration.ts';

const policies = ['roundRobin', 'random', 'weighted', 'sourceHash', 'leastLatency'] as const;
const perSecond = z.optional(z.int().check(z.gte(1), z.lte(1_000_000)));

const shape = prepareShape(
  z.object({
    network: z.optional(z.string()),
    /** `auto`: of the configured ranges; `none`: the name leads to the instances. */
    address: z._default(z.union([z.string(), z.array(z.string())]), 'auto'),
    ports: z._default(
      z.array(
        z.object({
          name: z.optional(z.string()),
          protocol: z._default(z.enum(['tcp', 'udp', 'sctp']), 'tcp'),
          port: z.int().check(z.gte(1), z.lte(65_535)),
          targetPort: z.optional(z.int().check(z.gte(1), z.lte(65_535))),
        }),
      ),
      [],
    ),
    policy: z._default(z.enum(policies), 'roundRobin'),
    stickySeconds: z._default(z.int().check(z.gte(0), z.lte(86_400)), 0),
    limit: perSecond,
    limitPerSource: perSecond,
    sourceRanges: z.optional(z.array(z.string())),
    ttl: z._default(z.int().check(z.gte(0), z.lte(86_400)), 5),
  }),
);

export interface DefinitionContext {
  readonly namespace: string;
  readonly name: string;
  /** Where addresses come from. */
  readonly ranges: readonly Cidr[];
  /** What the service had before: it keeps its addresses. */
  readonly before: ServiceDefinition | undefined;
  readonly taken: ReadonlySet<string>;
}

/** Reads what is asked for a service, and gives it addresses. Throws RegistryError 400 that names the key, or 409. */
export function parseDefinition(json: Json, context: DefinitionContext): ServiceDefinition {
  const {namespace, name} = context;
  for (const [key, value] of [
    ['namespace', namespace],
    ['name', name],
  ] as const) {
    const fault = value.includes('.') ? 'it has a dot' : findNameFault(value);
    if (fault !== undefined)
      throw new RegistryError(400, `${key} ${JSON.stringify(value)} is no name: ${fault}`);
  }
  const body = read(json);
  const addresses = chooseAddresses(body.address, context);
  if (addresses.length > 0 && body.ports.length === 0) {
    throw new RegistryError(
      400,
      '"ports": a service with an address needs at least one, such as {"port": 80, "targetPort": 8080}',
    );
  }
  return {
    key: `${namespace}/${name}`,
    namespace,
    name,
    ...(body.network !== undefined && {network: body.network}),
    addresses,
    isAddressChosen: body.address === 'auto',
    ports: body.ports,
    policy: body.policy,
    stickySeconds: body.stickySeconds,
    ...(body.limit !== undefined && {limit: body.limit}),
    ...(body.limitPerSource !== undefined && {limitPerSource: body.limitPerSource}),
    ...(body.sourceRanges && {sourceRanges: body.sourceRanges.map(rangeOf)}),
    ttl: body.ttl,
  };
}

function chooseAddresses(
  wanted: string | readonly string[],
  {namespace, name, ranges, before, taken}: DefinitionContext,
): readonly string[] {
  if (wanted === 'none') return [];
  const own = new Set(before?.addresses);
  if (wanted === 'auto') {
    if (before && before.addresses.length > 0) return before.addresses;
    const free = new Set([...taken].filter((address) => !own.has(address)));
    return ranges.map((range) => {
      const address = chooseAddress(range, `${namespace}/${name}`, free);
      if (address === undefined)
        throw new RegistryError(
          409,
          `there is no free address in ${formatCidr(range)}: remove services, or configure a larger range`,
        );
      return address;
    });
  }
  const list = (typeof wanted === 'string' ? [wanted] : wanted).map((text) => {
    const ip = parseIp(text);
    if (ip === undefined)
      throw new RegistryError(
        400,
        `"address": ${JSON.stringify(text)} is no address; "auto" and "none" are the other choices`,
      );
    const address = formatIp(ip);
    if (taken.has(address) && !own.has(address))
      throw new RegistryError(409, `"address": ${address} belongs to another service`);
    return {address, family: familyOf(ip)};
  });
  if (new Set(list.map(({family}) => family)).size < list.length) {
    throw new RegistryError(400, '"address": at most one of each family');
  }
  return list.map(({address}) => address);
}

function rangeOf(text: string): string {
  const cidr = parseCidr(text);
  if (cidr === undefined)
    throw new RegistryError(400, `"sourceRanges": ${JSON.stringify(text)} is no range such as "10.0.0.0/8"`);
  return formatCidr(cidr);
}

function read(json: Json): z.output<typeof shape> {
  try {
    return readShape(shape, json);
  } catch (error) {
    if (!(error instanceof ShapeError)) throw error;
    throw new RegistryError(400, `"${error.path}": ${error.message}`);
  }
}
