import * as z from 'zod/mini';
import {parseConf} from '../../lib/cni/conf.ts';
import {CniError, errorCodes} from '../../lib/cni/error.ts';
import type {Owner} from '../../lib/cni/owner.ts';
import type {Call} from '../../lib/cni/plugin.ts';
import {findKey, prepareShape} from '../../lib/cni/shape.ts';
import {defaultDiscoveryDir, type DiscoveredAttachment} from '../../lib/discovery/attachment-file.ts';
import {findNameFault, labelOfNetwork} from '../../lib/discovery/names.ts';
import {defaultNameSocket} from '../../lib/discovery/notify.ts';
import {formatIp, parseIp} from '../../lib/ip/address.ts';
import {findNames} from './name-sources.ts';

const flag = z.optional(z.boolean());
const texts = z.optional(z.array(z.string()));

const port = z.object({
  name: z.optional(z.string()),
  protocol: z.optional(z.string()),
  port: z.optional(z.int()),
});
const portMapping = z.object({
  containerPort: z.optional(z.int()),
  protocol: z.optional(z.string()),
});

const schema = prepareShape(
  z.object({
    domainName: z.optional(z.string()),
    ttl: z.optional(z.int().check(z.gte(0), z.lte(86_400))),
    internal: flag,
    intercept: flag,
    agentRequired: flag,
    upstreams: texts,
    options: texts,
    texts,
    ports: z.optional(z.array(port)),
    argNameKey: z.optional(z.string()),
    aliasAnnotation: z.optional(z.string()),
    stateDir: z.optional(z.string()),
    agentSocket: z.optional(z.string()),
    runtimeConfig: z.optional(
      z.looseObject({
        // Lists, and maps by network: name-sources.ts reads both.
        aliases: z.optional(z.unknown()),
        dns: z.optional(z.object({servers: texts, searches: texts, options: texts})),
        portMappings: z.optional(z.nullable(z.array(portMapping))),
        'io.kubernetes.cri.pod-annotations': z.optional(z.unknown()),
      }),
    ),
  }),
);

export type Schema = z.output<typeof schema>;

/** What a call asks of the discovery plugin. */
export interface DiscoveryConf {
  readonly owner: Owner;
  /** Lower case; the first is the canonical one. None: the container has no name, and gets a server all the same. */
  readonly names: readonly string[];
  /** The zone of the network's names. */
  readonly domain: string;
  readonly ttl: number;
  readonly internal: boolean;
  readonly intercept: boolean;
  /** ADD fails when no agent serves the name. */
  readonly agentRequired: boolean;
  readonly upstreams: readonly string[];
  /** For the container's resolv.conf. */
  readonly options: readonly string[];
  readonly texts: readonly string[];
  readonly ports: DiscoveredAttachment['ports'];
  readonly stateDir: string;
  readonly agentSocket: string;
}

/** Below it, each network has a zone of its own name, unless `domainName` gives it one. RFC 9476's neighbour "internal". */
const defaultSuffix = 'weft.internal';
const protocols = ['tcp', 'udp', 'sctp'] as const;

/** Reads and checks the configuration of an ADD or CHECK. Throws CniError 7. */
export function parseDiscoveryConf(call: Call): DiscoveryConf {
  const conf = parseConf(call, schema);
  const {dns, portMappings} = conf.runtimeConfig ?? {};
  const places = findPlaces(call);
  return {
    owner: {network: call.name, containerId: call.containerId, ifName: call.ifName},
    names: findNames(call, conf),
    domain: domainOf(call.name, conf.domainName ?? ''),
    ttl: conf.ttl ?? 0,
    internal: conf.internal ?? false,
    intercept: conf.intercept ?? false,
    agentRequired: conf.agentRequired ?? false,
    upstreams: (conf.upstreams ?? dns?.servers ?? []).map(serverOf),
    options: conf.options ?? [],
    texts: conf.texts ?? [],
    ports: [
      ...(conf.ports ?? []).map(({name, protocol, port: number}, i) =>
        portOf(`ports[${i}]`, {name, protocol, port: number}),
      ),
      ...(portMappings ?? []).map(({containerPort, protocol}, i) =>
        portOf(`runtimeConfig.portMappings[${i}]`, {protocol, port: containerPort}),
      ),
    ],
    ...places,
  };
}

/** Where files and the agent are. Never throws: DEL and GC need no more of a configuration. */
export function findPlaces(call: Call): Pick<DiscoveryConf, 'stateDir' | 'agentSocket'> {
  const read = (key: string, fallback: string) => {
    const value = findKey(call.conf, key);
    return typeof value === 'string' && value.startsWith('/') ? value : fallback;
  };
  return {
    stateDir: read('stateDir', defaultDiscoveryDir),
    agentSocket: read('agentSocket', defaultNameSocket),
  };
}

function domainOf(network: string, name: string): string {
  if (name === '') return `${labelOfNetwork(network)}.${defaultSuffix}`;
  const domain = name.replace(/\.$/, '');
  const fault = findNameFault(domain);
  if (fault === undefined) return domain.toLowerCase();
  throw invalid(`domainName: ${JSON.stringify(name)} is no domain: ${fault}`, 'such as "net1.example.org"');
}

function serverOf(text: string): string {
  const ip = parseIp(text);
  if (ip) return formatIp(ip);
  throw invalid(`upstreams: ${JSON.stringify(text)} is no address`, 'give the addresses of DNS servers');
}

function portOf(
  path: string,
  {
    name,
    protocol = 'tcp',
    port: number,
  }: {name?: string | undefined; protocol?: string | undefined; port?: number | undefined},
): DiscoveredAttachment['ports'][number] {
  const known = protocols.find((each) => each === protocol.toLowerCase());
  if (known === undefined) {
    throw invalid(`${path}.protocol: ${JSON.stringify(protocol)} is none of ${protocols.join(', ')}`, '');
  }
  if (number === undefined || number < 1 || number > 65_535) {
    throw invalid(`${path}: ${number ?? 'nothing'} is no port`, 'give a number between 1 and 65535');
  }
  const fault = name === undefined ? undefined : findNameFault(name);
  if (fault !== undefined || name?.includes('.')) {
    throw invalid(
      `${path}.name: ${JSON.stringify(name)} is no name of a port: ${fault ?? 'it has a dot'}`,
      '',
    );
  }
  return {...(name !== undefined && {name: name.toLowerCase()}), protocol: known, port: number};
}

export function invalid(msg: string, details: string): CniError {
  return new CniError(errorCodes.invalidConfig, msg, details);
}
