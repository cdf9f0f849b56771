import {parseContainer, parseInstance, parseService} from '../catalog/shapes.ts';
import type {NamedContainer, ServiceDefinition, ServiceInstance} from '../catalog/model.ts';

// Our own keys, richer than SkyDNS's:
//
//   <prefix>/nodes/<node>                       {"lease", "since"}       who is there
//   <prefix>/containers/<node>/<container>      NamedContainer           under the node's lease
//   <prefix>/instances/<node>/<instance>        ServiceInstance          under the node's lease
//   <prefix>/services/<namespace>/<name>        ServiceDefinition        until somebody removes it

export interface SharingLayout {
  readonly root: string;
  node(node: string): string;
  container(container: NamedContainer): string;
  instance(instance: ServiceInstance): string;
  service(service: Pick<ServiceDefinition, 'key'>): string;
}

const part = encodeURIComponent;

export function sharingLayout(prefix: string): SharingLayout {
  const root = `${prefix}/`;
  return {
    root,
    node: (node) => `${root}nodes/${part(node)}`,
    container: ({node, key}) => `${root}containers/${part(node)}/${part(key)}`,
    instance: ({node, key}) => `${root}instances/${part(node)}/${part(key)}`,
    service: ({key}) => `${root}services/${key}`,
  };
}

/** What is known of other hosts. */
export interface Shared {
  readonly containers: readonly NamedContainer[];
  readonly instances: readonly ServiceInstance[];
  readonly services: readonly ServiceDefinition[];
}

/** Reads the keys of all hosts but `node`; values that are none of ours are passed over. */
export function readShared(
  entries: Iterable<readonly [key: string, value: string]>,
  {root}: SharingLayout,
  node: string,
): Shared {
  const containers: NamedContainer[] = [];
  const instances: ServiceInstance[] = [];
  const services: ServiceDefinition[] = [];
  for (const [key, value] of entries) {
    const [kind, owner] = key.slice(root.length).split('/');
    if (owner === part(node) && kind !== 'services') continue;
    // What this host itself said is known from its own files, also that it says so no longer.
    if (kind === 'services' && definedBy(value) === node) continue;
    const parsed = parse(value);
    if (kind === 'services') push(services, parseService(parsed));
    else if (kind === 'containers') push(containers, parseContainer(parsed));
    else if (kind === 'instances') push(instances, parseInstance(parsed));
  }
  return {containers, instances, services};
}

/** Who defined a service, by its value. */
export function definedBy(value: string): string | undefined {
  try {
    return (JSON.parse(value) as {definedBy?: string}).definedBy;
  } catch {
    return undefined;
  }
}

function push<Value>(list: Value[], value: Value | undefined): void {
  if (value !== undefined) list.push(value);
}

function parse(value: string): unknown {
  try {
    return JSON.parse(value);
  } catch {
    return undefined;
  }
}
