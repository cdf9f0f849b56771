import type {Catalog} from '../catalog/catalog.ts';
import type {ServiceDefinition} from '../catalog/model.ts';
import type {SharingLayout} from './layout.ts';
import type {Wanted} from './publisher.ts';
import {containerRecords, instanceRecords, serviceRecords} from './skydns.ts';

export interface WantedOptions {
  readonly node: string;
  readonly lease: string;
  readonly layout: SharingLayout;
  readonly skydnsPath: string;
  /** The zone of services that belong to no network. */
  readonly serviceDomain: string;
}

/** Everything that this host has to say, by key. */
export function planWanted(
  {containers, instances, services}: Catalog,
  options: WantedOptions,
): ReadonlyMap<string, Wanted> {
  const {node, lease, layout, skydnsPath: path, serviceDomain} = options;
  const wanted = new Map<string, Wanted>();
  const say = (key: string, value: string) => wanted.set(key, {value, leased: true});
  const sayAll = (records: ReadonlyMap<string, string>) => {
    for (const [key, value] of records) say(key, value);
  };
  const domains = new Map(containers.list().map(({network, domain}) => [network, domain]));
  const domainOf = (network: string | undefined) =>
    (network === undefined ? undefined : domains.get(network)) ?? serviceDomain;
  say(layout.node(node), JSON.stringify({node, lease}));
  for (const container of containers.list('local')) {
    say(layout.container(container), JSON.stringify(container));
    sayAll(containerRecords(container, {path, serviceDomain}));
  }
  for (const {latencyMs: _, ...instance} of instances.list('local')) {
    // Each host measures for itself; and a figure that changes all the time would be written all the time.
    say(layout.instance(instance), JSON.stringify(instance));
    const definition = services.find(`${instance.namespace}/${instance.name}`)?.value;
    sayAll(instanceRecords(instance, {definition, domain: domainOf(instance.network), path}));
  }
  for (const service of services.list('local')) {
    wanted.set(layout.service(service), {value: formatService(service, node), leased: false});
    sayAll(serviceRecords(service, {domain: domainOf(service.network), path}));
  }
  return wanted;
}

/** A service as etcd holds it, with who said so. */
function formatService(service: ServiceDefinition, node: string): string {
  return JSON.stringify({...service, definedBy: node});
}
