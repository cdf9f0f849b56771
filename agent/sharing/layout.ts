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
    const parsed = parse(value);
    if (parsed === undefined) continue;
    if (kind === 'services') {
      // What this host itself said is known from its own files, also that it says so no longer.
      if (definedBy(value) !== node) services.push(parsed as ServiceDefinition);
    } else if (owner === part(node)) continue;
    else if (kind === 'containers') containers.push(parsed as NamedContainer);
    else if (kind === 'instances') instances.push(parsed as ServiceInstance);
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

function parse(value: string): {readonly key: string} | undefined {
  try {
    const parsed: unknown = JSON.parse(value);
    if (typeof parsed !== 'object' || parsed === null || !('key' in parsed)) return undefined;
    return typeof parsed.key === 'string' ? {...parsed, key: parsed.key} : undefined;
  } catch {
    return undefined;
  }
}
