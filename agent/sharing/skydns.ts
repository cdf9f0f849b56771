import {familyOf, formatIp, ipBytes, parseIp} from '../../lib/ip/address.ts';
import type {NamedContainer, Port, ServiceDefinition, ServiceInstance} from '../catalog/model.ts';

// CoreDNS's etcd plugin (and SkyDNS before it): a name is a path, its labels from the last to the first; a value is JSON. An instance has a leaf
// of its own below the name, because a key at a name hides everything below it. A name of ours is never below another.

/** What a value says; the order of the keys is that of CoreDNS's own. */
export interface SkyDnsValue {
  readonly host: string;
  readonly port?: number;
  readonly weight?: number;
  readonly text?: string;
  /** Always there: older releases of CoreDNS take the lease's id for it (CVE-2025-58063). 0 would mean 300. */
  readonly ttl: number;
}

export interface SkyDnsOptions {
  /** Where CoreDNS looks: `/skydns`. */
  readonly path: string;
  /** The zone of services that belong to no network. */
  readonly serviceDomain: string;
}

type Records = ReadonlyMap<string, string>;

/** `web.net1.example` → `/skydns/example/net1/web`. */
export function keyOfName(path: string, name: string): string {
  return [path, ...name.split('.').toReversed()].join('/');
}

/** The key of an address's name: exact, without a leaf. */
export function keyOfAddress(path: string, text: string): string | undefined {
  const ip = parseIp(text);
  if (ip === undefined) return undefined;
  if (familyOf(ip) === 4) return `${path}/arpa/in-addr/${formatIp(ip).split('.').join('/')}`;
  return `${path}/arpa/ip6/${ipBytes(ip).toString('hex').split('').join('/')}`;
}

/** A label that tells one owner from others of the same name. */
function leafOf(text: string): string {
  return text
    .toLowerCase()
    .replaceAll(/[^a-z0-9-]+/g, '-')
    .slice(0, 50);
}

const shortId = 12;

/** The records of a container: its names, and its addresses' name. */
export function containerRecords(container: NamedContainer, {path}: SkyDnsOptions): Records {
  const {names, domain, ips, containerId, ports, ttl} = container;
  const records = new Map<string, string>();
  for (const name of names) {
    for (const ip of ips) {
      const leaf = `${leafOf(containerId.slice(0, shortId))}-${ip.includes(':') ? 6 : 4}`;
      put(records, `${keyOfName(path, `${name}.${domain}`)}/${leaf}`, {
        host: ip,
        ...portOf(ports),
        ttl: Math.max(ttl, 1),
      });
    }
  }
  const [canonical] = names;
  for (const ip of canonical === undefined ? [] : ips) {
    const key = keyOfAddress(path, ip);
    if (key !== undefined) put(records, key, {host: `${canonical}.${domain}`, ttl: Math.max(ttl, 1)});
  }
  return records;
}

/** The records of an instance: under its service's name, or below `eps` where that has an address of its own. */
export function instanceRecords(
  instance: ServiceInstance,
  {
    definition,
    domain,
    path,
  }: {
    readonly definition: ServiceDefinition | undefined;
    /** The zone of the network it belongs to. */
    readonly domain: string;
    readonly path: string;
  },
): Records {
  const {name, namespace, id, node, address, port, protocol, weight, health, draining} = instance;
  const records = new Map<string, string>();
  if (health === 'critical' || draining || weight === 0) return records;
  const branch = definition !== undefined && definition.addresses.length > 0 ? 'eps' : 'svc';
  const named = definition?.ports.find((each) => (each.targetPort ?? each.port) === port)?.name ?? name;
  const service = `_${named}._${protocol}.${name}.${namespace}.${branch}.${domain}`;
  const ttl = Math.max(definition?.ttl ?? 5, 1);
  put(records, `${keyOfName(path, service)}/${leafOf(`${id}-${node}`)}`, {host: address, port, weight, ttl});
  return records;
}

/** The records of a service's own addresses. */
export function serviceRecords(
  {name, namespace, addresses, ports, ttl}: ServiceDefinition,
  {domain, path}: {readonly domain: string; readonly path: string},
): Records {
  const records = new Map<string, string>();
  for (const address of addresses) {
    for (const {name: portName = name, protocol, port} of ports) {
      const service = `_${portName}._${protocol}.${name}.${namespace}.svc.${domain}`;
      const leaf = address.includes(':') ? 'address6' : 'address4';
      put(records, `${keyOfName(path, service)}/${leaf}`, {host: address, port, ttl: Math.max(ttl, 1)});
    }
  }
  return records;
}

function portOf(ports: readonly Port[]): {port?: number} {
  const [first] = ports;
  return first === undefined ? {} : {port: first.port};
}

function put(records: Map<string, string>, key: string, value: SkyDnsValue): void {
  records.set(key.toLowerCase(), JSON.stringify(value));
}
