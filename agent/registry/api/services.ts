import type {Catalog} from '../../catalog/catalog.ts';
import type {ServiceDefinition} from '../../catalog/model.ts';
import type {Registry} from '../registry.ts';
import {RegistryError} from '../registration.ts';
import {waitForNews} from './blocking.ts';
import type {Routes} from './router.ts';

/** Services with addresses: what Consul has no words for. */
export function serviceRoutes({
  registry,
  catalog,
}: {
  readonly registry: Registry;
  readonly catalog: Catalog;
}): Routes {
  const {services, instances} = catalog;
  const show = (service: ServiceDefinition) => ({
    ...service,
    instances: instances
      .list()
      .filter(({namespace, name}) => namespace === service.namespace && name === service.name)
      .map(({id, node, address, port, health, draining, weight, latencyMs}) => ({
        id,
        node,
        address,
        port,
        health,
        draining,
        weight,
        latencyMs,
      })),
  });
  return {
    'GET /v1/services': async (request) => {
      const headers = await waitForNews([services, instances], request);
      return {headers, body: services.list().map(show)};
    },
    'GET /v1/agent/instances': () => ({
      body: instances.list().map(({namespace, name, id, node, address, port, health, draining}) => ({
        namespace,
        name,
        id,
        node,
        address,
        port,
        health,
        draining,
      })),
    }),
    'GET /v1/services/:namespace/:name': (request) => ({body: show(get(services, request.params))}),
    'PUT /v1/services/:namespace/:name': ({params, body}) => {
      const {namespace = '', name = ''} = params;
      return {body: show(registry.define(namespace.toLowerCase(), name.toLowerCase(), body ?? {}))};
    },
    'DELETE /v1/services/:namespace/:name': ({params}) => {
      const {namespace = '', name = ''} = params;
      if (registry.undefine(namespace.toLowerCase(), name.toLowerCase())) return {};
      const isRemote = services.find(`${namespace}/${name}`.toLowerCase()) !== undefined;
      throw new RegistryError(
        404,
        isRemote
          ? `another host exposed ${namespace}/${name}: hide it there, or expose it here first, which takes it over`
          : `no service ${namespace}/${name} has an address`,
      );
    },
  };
}

function get(
  services: Catalog['services'],
  {namespace, name}: Readonly<Record<string, string>>,
): ServiceDefinition {
  const found = services.find(`${namespace}/${name}`);
  if (found === undefined) throw new RegistryError(404, `there is no service ${namespace}/${name}`);
  return found.value;
}
