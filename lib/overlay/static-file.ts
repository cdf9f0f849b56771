import * as z from 'zod/mini';
import {cidrField, ipField, macField} from '../cni/fields.ts';
import {prepareShape, readShape, ShapeError} from '../cni/shape.ts';
import type {Json} from '../cni/types.ts';
import {familyOf, formatIp, type Family, type Ip} from '../ip/address.ts';
import {parseCidr, type Cidr} from '../ip/cidr.ts';
import {deriveVtepMac} from './vtep-mac.ts';
import type {Endpoint, Member, OverlayNetwork} from './member.ts';
import {checkMembers, checkNetwork, isHostAddress, refuse} from './static-rules.ts';

const endpoint = z.object({ips: z.array(ipField), mac: macField});

const node = z.object({
  name: z.string(),
  publicIP: z.optional(ipField),
  publicIPv6: z.optional(ipField),
  subnets: z._default(z.array(cidrField), []),
  mac: z.optional(macField),
  macV6: z.optional(macField),
  mtu: z.optional(z.int().check(z.gte(68), z.lte(65_535))),
  endpoints: z.optional(z.array(endpoint)),
});

/** "10.244.0.0/16", or a list of such. */
export const rangesField = z.pipe(
  z.unknown(),
  z.transform((value, ctx): readonly Cidr[] =>
    (Array.isArray(value) ? value : [value]).map((each: unknown) => {
      const range = typeof each === 'string' ? parseCidr(each) : undefined;
      if (range !== undefined) return range;
      const message = `${JSON.stringify(each)} is not a range; write it as "10.244.0.0/16"`;
      ctx.issues.push({code: 'custom', message, input: value});
      return z.NEVER;
    }),
  ),
);

const schema = prepareShape(
  z.object({
    network: rangesField,
    form: z._default(z.enum(['routed', 'l2']), 'routed'),
    vni: z._default(z.int().check(z.gte(1), z.lte(0xff_ffff)), 1),
    port: z._default(z.int().check(z.gte(1), z.lte(0xffff)), 8472),
    directRouting: z._default(z.boolean(), false),
    nodes: z.array(node),
  }),
);
type Node = z.output<typeof node>;

/** A whole overlay network written down: what all hosts agree on, and every host of it in the file's order. */
export interface StaticNetwork {
  readonly network: OverlayNetwork;
  readonly members: readonly Member[];
}

export interface StaticSource {
  /** What the network is called here; the file itself does not say. */
  readonly name: string;
  /** Where the description comes from, for errors: a path, or the name of a configuration. */
  readonly source: string;
}

/**
 * Reads the JSON of a static membership (see docs/membership.md). Throws an Error that names the source, the key, its value
 * and the remedy: for a wrong type or an unknown key, for what overlaps, is there twice or lies outside the network.
 */
export function parseStaticNetwork(text: string, options: StaticSource): StaticNetwork {
  let json: Json;
  try {
    json = JSON.parse(text) as Json;
  } catch (cause) {
    throw new Error(
      `${options.source} is not JSON: ${(cause as Error).message}; mend it, or remove what was cut off`,
      {
        cause,
      },
    );
  }
  return readStaticNetwork(json, options);
}

/** As `parseStaticNetwork`, from JSON that is part of another document. */
export function readStaticNetwork(json: Json, {name, source}: StaticSource): StaticNetwork {
  try {
    const {
      nodes,
      network: ranges,
      ...rest
    } = readShape(schema, json, (path, key, known) => {
      refuse(path, `"${key}" is not a key here; known are ${[...known].join(', ')}`);
    });
    const network = {name, ranges, ...rest};
    checkNetwork(network);
    const members = nodes.map((each, index) => memberOf(each, index, network.vni));
    checkMembers(network, members);
    return {network, members};
  } catch (error) {
    if (!(error instanceof ShapeError)) throw error;
    const where = error.path === '' ? source : `${source}: ${error.path}`;
    throw new Error(`${where}: ${error.message}`, {cause: error});
  }
}

function memberOf(node: Node, index: number, vni: number): Member {
  const {name, publicIP, publicIPv6, subnets, mac, macV6, mtu, endpoints} = node;
  const path = `nodes[${index}]`;
  const derive = (family: Family) => deriveVtepMac({vni, node: name, family});
  return {
    id: name,
    underlay: [
      underlayOf(publicIP, 4, `${path}.publicIP`),
      underlayOf(publicIPv6, 6, `${path}.publicIPv6`),
    ].filter((ip) => ip !== undefined),
    subnets,
    macs: {...(publicIP && {4: mac ?? derive(4)}), ...(publicIPv6 && {6: macV6 ?? derive(6)})},
    mtu,
    ...(endpoints && {endpoints: endpoints.map((each, at) => endpointOf(each, `${path}.endpoints[${at}]`))}),
    seniority: index,
  };
}

function underlayOf(ip: Ip | undefined, family: Family, path: string): Ip | undefined {
  if (ip === undefined) return undefined;
  if (familyOf(ip) !== family)
    refuse(
      path,
      `${formatIp(ip)} is not an IPv${family} address; IPv4 goes into publicIP, IPv6 into publicIPv6`,
    );
  if (!isHostAddress(ip))
    refuse(path, `${formatIp(ip)} cannot be the address of a host; give the one its peers reach it by`);
  return ip;
}

function endpointOf({ips, mac}: z.output<typeof endpoint>, path: string): Endpoint {
  const known = ips.filter((ip) => ip !== undefined);
  if (known.length === 0) refuse(`${path}.ips`, 'no address; give at least one');
  if (mac === undefined) refuse(`${path}.mac`, 'no hardware address; give the one of the interface');
  return {ips: known, mac};
}
