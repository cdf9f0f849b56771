import {parseIp, type Ip} from '../../lib/ip/address.ts';
import type {NamedContainer, ServiceDefinition, ServiceInstance} from '../catalog/model.ts';
import type {NameEntry} from './entry.ts';

/** The network of names that belong to none: containers of every network see them. */
export const everywhere = '';

export function containerEntry({
  key,
  network,
  containerId,
  names,
  ips,
  ports,
  texts,
  ttl,
}: NamedContainer): NameEntry {
  return {
    key: `container ${key}`,
    network,
    containerId,
    names,
    ips: addresses(ips),
    ports,
    texts,
    ttl,
    isCritical: false,
    weight: 1,
  };
}

/** Seconds: what others may keep of a service, unless it says more. */
const serviceTtl = 5;

/** An instance answers under its service's name; beside one that has an address of its own, below `eps`. */
export function instanceEntry(
  {
    key,
    namespace,
    name,
    id,
    network,
    address,
    port,
    protocol,
    weight,
    health,
    draining,
    meta,
  }: ServiceInstance,
  definition: ServiceDefinition | undefined,
): NameEntry {
  const hasAddress = definition !== undefined && definition.addresses.length > 0;
  const names = hasAddress ? [`${name}.${namespace}.eps`] : serviceNames({namespace, name});
  const named = definition?.ports.find(
    (each) => (each.targetPort ?? each.port) === port && each.protocol === protocol,
  );
  return {
    key: `instance ${key}`,
    network: network ?? everywhere,
    names: [...names, `${id.toLowerCase()}.${name}.${namespace}.eps`],
    ips: addresses([address]),
    ports: [{name: named?.name ?? name, protocol, port}],
    texts: Object.entries(meta).map(([label, value]) => `${label}=${value}`),
    ttl: definition?.ttl ?? serviceTtl,
    isCritical: health === 'critical' || draining || weight === 0,
    weight,
  };
}

/** A service with addresses of its own. */
export function serviceEntry(service: ServiceDefinition): NameEntry {
  const {key, name: serviceName, network, ports, ttl} = service;
  return {
    key: `service ${key}`,
    network: network ?? everywhere,
    names: serviceNames(service),
    ips: addresses(service.addresses),
    ports: ports.map(({name = serviceName, protocol, port}) => ({name, protocol, port})),
    texts: [],
    ttl,
    isCritical: false,
    weight: 1,
  };
}

/** `shop.default.svc` is its whole name; `shop.service` is how Consul writes it. */
function serviceNames({namespace, name}: {readonly namespace: string; readonly name: string}): string[] {
  const isDefault = namespace === 'default';
  return [
    `${name}.${namespace}.svc`,
    `${name}.${namespace}`,
    ...(isDefault ? [name, `${name}.svc`, `${name}.service`] : []),
  ];
}

function addresses(texts: readonly string[]): readonly Ip[] {
  return texts.map((text) => parseIp(text)).filter((ip) => ip !== undefined);
}
