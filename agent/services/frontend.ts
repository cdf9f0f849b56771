import {familyOf, formatIp, parseIp, type Family, type Ip} from '../../lib/ip/address.ts';
import {parseCidr, type Cidr} from '../../lib/ip/cidr.ts';
import type {Policy, ServiceDefinition, ServiceInstance} from '../catalog/model.ts';
import type {Target} from './slots.ts';

/** One address, protocol and port of a service, and where its connections go. */
export interface Frontend {
  /** `<address> <protocol> <port>`. */
  readonly key: string;
  readonly service: string;
  readonly family: Family;
  readonly address: Ip;
  readonly protocol: 'tcp' | 'udp' | 'sctp';
  readonly port: number;
  readonly policy: Policy;
  readonly stickySeconds: number;
  readonly limitPerSource: number | undefined;
  readonly limit: number | undefined;
  /** Those of the frontend's family; undefined: everybody. */
  readonly sources: readonly Cidr[] | undefined;
  /** In order of address and port; none: connections are refused. */
  readonly targets: readonly Target[];
}

/** A weight that depends on more than the instance itself; undefined: its own. */
export type WeightOf = (instance: ServiceInstance) => number | undefined;

/** The frontends of a service: one for each of its addresses and ports. */
export function planFrontends(
  service: ServiceDefinition,
  instances: readonly ServiceInstance[],
  weightOf: WeightOf = () => undefined,
): readonly Frontend[] {
  const {key, policy, stickySeconds, limitPerSource, limit} = service;
  const ready = instances.filter(isReady);
  const sources = service.sourceRanges?.map((text) => parseCidr(text)).filter((cidr) => cidr !== undefined);
  return service.addresses.flatMap((text) => {
    const address = parseIp(text);
    if (address === undefined) return [];
    const family = familyOf(address);
    return service.ports.map(({protocol, port, targetPort}) => ({
      key: `${formatIp(address)} ${protocol} ${port}`,
      service: key,
      family,
      address,
      protocol,
      port,
      policy,
      stickySeconds,
      limitPerSource,
      limit,
      sources: sources?.filter(({ip}) => familyOf(ip) === family),
      targets: targetsOf(ready, {family, protocol, targetPort}, weightOf),
    }));
  });
}

function isReady({health, draining, weight}: ServiceInstance): boolean {
  return health !== 'critical' && !draining && weight > 0;
}

function targetsOf(
  instances: readonly ServiceInstance[],
  {
    family,
    protocol,
    targetPort,
  }: {
    readonly family: Family;
    readonly protocol: string;
    readonly targetPort: number | undefined;
  },
  weightOf: WeightOf,
): readonly Target[] {
  const found = instances.flatMap((instance): Target[] => {
    const ip = parseIp(instance.address);
    const isOther = targetPort === undefined && instance.protocol !== protocol;
    if (ip === undefined || familyOf(ip) !== family || isOther) return [];
    const weight = Math.max(1, Math.round(weightOf(instance) ?? instance.weight));
    return [{address: formatIp(ip), port: targetPort ?? instance.port, weight}];
  });
  const unique = new Map(found.map((target) => [nameOf(target), target]));
  return [...unique.values()].toSorted((a, b) => (nameOf(a) < nameOf(b) ? -1 : 1));
}

const nameOf = ({address, port}: Target) => `${address} ${port}`;
