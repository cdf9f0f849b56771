import * as z from 'zod/mini';
import {parseConf} from '../../lib/cni/conf.ts';
import {CniError, errorCodes} from '../../lib/cni/error.ts';
import {describeFailure} from '../../lib/cni/failure.ts';
import type {Owner} from '../../lib/cni/owner.ts';
import type {Call} from '../../lib/cni/plugin.ts';
import {findPrevResult} from '../../lib/cni/result.ts';
import {prepareShape} from '../../lib/cni/shape.ts';
import type {Result} from '../../lib/cni/types.ts';
import {familyOf, parseIp} from '../../lib/ip/address.ts';
import type {Family, Ip} from '../../lib/ip/address.ts';
import {portProtocols} from '../../lib/netlink/nft/match.ts';
import type {PortProtocol} from '../../lib/netlink/nft/match.ts';
import {planBackend} from './backend.ts';
import type {Backend} from './backend.ts';
import {parseConditions} from './conditions.ts';
import type {Condition} from './conditions.ts';
import {planHostIp} from './mapping.ts';
import type {Containers, Mapping} from './mapping.ts';

const text = z.optional(z.string());
const conditions = z._default(z.array(z.string()), []);

const mappingShape = z.object({
  hostPort: z._default(z.int(), 0),
  containerPort: z._default(z.int(), 0),
  protocol: text,
  hostIP: text,
});

const schema = prepareShape(
  z.object({
    backend: text,
    snat: z._default(z.boolean(), true),
    masqAll: z._default(z.boolean(), false),
    markMasqBit: z.optional(z.int()),
    externalSetMarkChain: text,
    conditionsV4: conditions,
    conditionsV6: conditions,
    runtimeConfig: z.optional(z.looseObject({portMappings: z.optional(z.array(mappingShape))})),
  }),
);

/** Which bit of the mark says "to be masqueraded", as the reference has it. */
export const defaultMarkBit = 13;

/** What a call asks of the portmap plugin; every rule between keys has been checked. */
export interface PortmapConf {
  readonly owner: Owner;
  /** Undefined: nftables where the kernel has it. */
  readonly backend: Backend | undefined;
  readonly snat: boolean;
  readonly masqAll: boolean;
  /** iptables backend only. */
  readonly markBit: number;
  /** iptables backend only: a chain of somebody else's that sets the mark. */
  readonly externalSetMarkChain: string | undefined;
  /** iptables backend only: matches, as they are written on its command line. */
  readonly matches: Readonly<Record<Family, readonly string[]>>;
  /** nftables backend only. */
  readonly conditions: Readonly<Record<Family, Condition | undefined>>;
  readonly mappings: readonly Mapping[];
  readonly containers: Containers;
  readonly previous: Result | undefined;
}

/** Reads a call's configuration. Throws CniError 7 with the reference's sentences. */
export function parsePortmapConf(call: Call): PortmapConf {
  try {
    return readConf(call);
  } catch (error) {
    const {code = errorCodes.invalidConfig, details = ''} = error instanceof CniError ? error : {};
    const message = error instanceof CniError ? error.message : describeFailure(error);
    throw new CniError(code, `failed to parse config: ${message}`, details);
  }
}

function readConf(call: Call): PortmapConf {
  const conf = parseConf(call, schema);
  const previous = findPrevResult(call);
  const markBit = conf.markMasqBit ?? defaultMarkBit;
  const externalSetMarkChain = conf.externalSetMarkChain || undefined;
  if (externalSetMarkChain !== undefined && conf.markMasqBit !== undefined) {
    throw invalid('Cannot specify externalSetMarkChain and markMasqBit', 'remove one of the two keys');
  }
  if (markBit < 0 || markBit > 31) {
    throw invalid('MasqMarkBit must be between 0 and 31', `"markMasqBit" is ${markBit}`);
  }
  const backend = planBackend({...conf, externalSetMarkChain});
  const isNft = backend !== 'iptables';
  return {
    owner: {network: call.name, containerId: call.containerId, ifName: call.ifName},
    backend,
    snat: conf.snat,
    masqAll: conf.masqAll,
    markBit,
    externalSetMarkChain,
    matches: {4: isNft ? [] : conf.conditionsV4, 6: isNft ? [] : conf.conditionsV6},
    conditions: {
      4: isNft ? parseConditions('conditionsV4', conf.conditionsV4) : undefined,
      6: isNft ? parseConditions('conditionsV6', conf.conditionsV6) : undefined,
    },
    mappings: planMappings(conf.runtimeConfig?.portMappings ?? []),
    containers: previous ? findContainers(call, previous) : {},
    previous,
  };
}

type RawMapping = z.output<typeof mappingShape>;

function planMappings(raw: readonly RawMapping[]): Mapping[] {
  return raw.map(({hostPort, containerPort, protocol, hostIP}) => {
    for (const [name, port] of Object.entries({container: containerPort, host: hostPort})) {
      if (port < 1 || port > 65_535)
        throw invalid(`Invalid ${name} port number: ${port}`, 'ports go from 1 to 65535');
    }
    return {hostPort, containerPort, protocol: planProtocol(protocol), ...planHostIp(parseHostIp(hostIP))};
  });
}

function planProtocol(text: string | undefined): PortProtocol {
  const protocol = (text || 'tcp').toLowerCase();
  if (Object.hasOwn(portProtocols, protocol)) return protocol as PortProtocol;
  throw invalid(
    `Invalid protocol: ${JSON.stringify(text)}`,
    `portMappings: protocol is one of ${Object.keys(portProtocols).join(', ')}`,
  );
}

function parseHostIp(text: string | undefined): Ip | undefined {
  if (text === undefined || text === '') return undefined;
  const ip = parseIp(text);
  if (!ip) throw invalid(`invalid IP address: ${text}`, 'portMappings: hostIP is an address of the host');
  return ip;
}

/** The first address of each family that is on CNI_IFNAME in the container, or that names no interface. */
export function findContainers({ifName}: Pick<Call, 'ifName'>, {ips, interfaces}: Result): Containers {
  const own = ips.filter(({interface: index}) => {
    const entry = index === undefined ? undefined : interfaces[index];
    return !entry || (entry.name === ifName && entry.sandbox);
  });
  const first = (family: Family) => own.find(({address}) => familyOf(address.ip) === family)?.address;
  const [v4, v6] = [first(4), first(6)];
  return {...(v4 && {4: v4}), ...(v6 && {6: v6})};
}

function invalid(msg: string, details: string): CniError {
  return new CniError(errorCodes.invalidConfig, msg, details);
}
