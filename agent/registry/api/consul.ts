import type {Catalog} from '../../catalog/catalog.ts';
import type {Health, ServiceInstance} from '../../catalog/model.ts';
import type {CheckState} from '../checks/watcher.ts';
import {healthOf, type Registry} from '../registry.ts';
import {
  defaultNamespace,
  parseCheck,
  parseRegistration,
  RegistryError,
  type Registration,
} from '../registration.ts';
import {waitForNews} from './blocking.ts';
import type {ApiRequest, ApiResponse, Routes} from './router.ts';

export interface ConsulContext {
  readonly registry: Registry;
  readonly catalog: Catalog;
  readonly node: string;
  /** This host's address among others: for instances that name none. */
  readonly address: string;
  readonly version: string;
}

const healthCodes: Readonly<Record<Health, number>> = {passing: 200, warning: 429, critical: 503};
const beats: Readonly<Record<string, Health>> = {pass: 'passing', warn: 'warning', fail: 'critical'};

/** The part of Consul's interface that programs use to register, to be found and to find (its version 1 API). */
export function consulRoutes(context: ConsulContext): Routes {
  const {registry, node, address, version} = context;
  return {
    'GET /v1/status/leader': () => ({body: `${address}:8300`}),
    'GET /v1/status/peers': () => ({body: [`${address}:8300`]}),
    'GET /v1/agent/self': () => ({
      body: {
        Config: {NodeName: node, Datacenter: 'dc1', Version: version},
        Member: {Name: node, Addr: address},
      },
    }),
    'PUT /v1/agent/service/register': (request) => {
      registry.register(
        parseRegistration(request.body, {address, namespace: request.query.get('ns') ?? undefined}),
      );
      return {};
    },
    'PUT /v1/agent/service/deregister/:id': (request) => {
      const {namespace, id} = target(request);
      if (!registry.deregister(namespace, id))
        throw new RegistryError(
          404,
          `Unknown service ID "${id}". Ensure that the service ID is passed, not the service name.`,
        );
      return {};
    },
    'PUT /v1/agent/service/maintenance/:id': (request) => {
      const {namespace, id} = target(request);
      const isOn = request.query.get('enable');
      if (isOn !== 'true' && isOn !== 'false')
        throw new RegistryError(400, '"enable": expected true or false');
      const reason = request.query.get('reason') || 'Maintenance mode is enabled for this service';
      const known = get(registry, request);
      const {maintenance: _, ...without} = known.registration;
      if (isOn === 'true') registry.update(namespace, id, {maintenance: reason});
      else registry.register(without);
      return {};
    },
    'PUT /v1/agent/service/drain/:id': (request) => {
      const {namespace, id} = target(request);
      registry.update(namespace, id, {draining: request.query.get('enable') !== 'false'});
      return {};
    },
    'GET /v1/agent/services': ({query}) => {
      const own = registry.list().filter(({registration}) => registration.namespace === namespaceOf(query));
      return {
        body: Object.fromEntries(own.map(({registration}) => [registration.id, agentService(registration)])),
      };
    },
    'GET /v1/agent/service/:id': (request) => ({body: agentService(get(registry, request).registration)}),
    'GET /v1/agent/checks': ({query}) => ({
      body: Object.fromEntries(
        registry
          .list()
          .filter(({registration}) => registration.namespace === namespaceOf(query))
          .flatMap(({registration, checks}) =>
            checks.map((check) => [check.definition.id, checkOf(registration, check, node)]),
          ),
      ),
    }),
    'PUT /v1/agent/check/register': (request) => {
      const body = request.body as {ServiceID?: string; Name?: string; ID?: string} | null;
      const id = body?.ServiceID;
      if (!id) throw new RegistryError(400, '"ServiceID": a check belongs to a service');
      const namespace = namespaceOf(request.query);
      const found = registry.find(namespace, id);
      if (found === undefined) throw new RegistryError(404, `ServiceID "${id}" does not exist`);
      const check = parseCheck(request.body, body.ID || body.Name || `service:${id}`);
      const others = found.registration.checks.filter((each) => each.id !== check.id);
      registry.update(namespace, id, {checks: [...others, check]});
      return {};
    },
    'PUT /v1/agent/check/deregister/:id': (request) => {
      const {id} = target(request);
      const found = registry
        .list()
        .find(({registration}) => registration.checks.some((each) => each.id === id));
      if (found === undefined) throw new RegistryError(404, `Unknown check ID "${id}"`);
      const {namespace, id: service, checks} = found.registration;
      registry.update(namespace, service, {checks: checks.filter((each) => each.id !== id)});
      return {};
    },
    ...Object.fromEntries(
      Object.entries(beats).map(([word, status]) => [
        `PUT /v1/agent/check/${word}/:id`,
        ({params, query}: ApiRequest): ApiResponse => {
          registry.beat(params['id']!, status, query.get('note') ?? '');
          return {};
        },
      ]),
    ),
    'PUT /v1/agent/check/update/:id': ({params, body}) => {
      const {Status: status, Output: output = ''} = (body ?? {}) as {Status?: string; Output?: string};
      if (status !== 'passing' && status !== 'warning' && status !== 'critical')
        throw new RegistryError(400, '"Status": expected passing, warning or critical');
      registry.beat(params['id']!, status, output);
      return {};
    },
    'GET /v1/agent/health/service/id/:id': (request) => {
      const {registration, checks} = get(registry, request);
      const health = healthOf(registration, checks);
      return {code: healthCodes[health], body: agentHealth(registration, checks, node)};
    },
    'GET /v1/agent/health/service/name/:name': ({params, query}) => {
      const own = registry
        .list()
        .filter(({registration: r}) => r.name === params['name'] && r.namespace === namespaceOf(query));
      const codes = own.map(({registration, checks}) => healthCodes[healthOf(registration, checks)]);
      const code = own.length === 0 ? 404 : [503, 429, 200].find((each) => codes.includes(each))!;
      return {code, body: own.map(({registration, checks}) => agentHealth(registration, checks, node))};
    },
    ...catalogRoutes(context),
  };
}

/** What is known of all hosts. */
function catalogRoutes({catalog, registry, node, address}: ConsulContext): Routes {
  const {instances} = catalog;
  const listNamed = (name: string, query: URLSearchParams) =>
    instances
      .list()
      .filter(
        (each) =>
          each.name === name.toLowerCase() && each.namespace === namespaceOf(query) && hasTags(each, query),
      );
  const checksOf = (instance: ServiceInstance) => {
    const own = instance.node === node ? registry.find(instance.namespace, instance.id) : undefined;
    if (own && own.checks.length > 0)
      return own.checks.map((check) => checkOf(own.registration, check, node));
    return [{...bareCheck(instance), Status: instance.health}];
  };
  return {
    'GET /v1/catalog/datacenters': () => ({body: ['dc1']}),
    'GET /v1/catalog/nodes': async (request) => {
      const headers = await waitForNews([instances], request);
      const names = new Set([node, ...instances.list().map((each) => each.node)]);
      return {
        headers,
        body: [...names].map((name) => ({
          Node: name,
          Address: name === node ? address : '',
          Datacenter: 'dc1',
        })),
      };
    },
    'GET /v1/catalog/services': async (request) => {
      const headers = await waitForNews([instances], request);
      const services: Record<string, string[]> = {};
      for (const {name, namespace, tags} of instances.list()) {
        if (namespace !== namespaceOf(request.query)) continue;
        services[name] = [...new Set([...(services[name] ?? []), ...tags])];
      }
      return {headers, body: services};
    },
    'GET /v1/catalog/service/:name': async (request) => {
      const headers = await waitForNews([instances], request);
      return {headers, body: listNamed(request.params['name']!, request.query).map(catalogService)};
    },
    'GET /v1/health/service/:name': async (request) => {
      const headers = await waitForNews([instances], request);
      const isWellOnly = request.query.has('passing') && request.query.get('passing') !== 'false';
      const found = listNamed(request.params['name']!, request.query).filter(
        ({health}) => !isWellOnly || health === 'passing',
      );
      const near = request.query.get('near');
      const sorted =
        near === null ? found : found.toSorted((a, b) => Number(b.node === node) - Number(a.node === node));
      return {
        headers,
        body: sorted.map((instance) => ({
          Node: {Node: instance.node, Address: instance.address, Datacenter: 'dc1'},
          Service: healthService(instance),
          Checks: checksOf(instance),
        })),
      };
    },
    'GET /v1/health/checks/:name': async (request) => {
      const headers = await waitForNews([instances], request);
      return {headers, body: listNamed(request.params['name']!, request.query).flatMap(checksOf)};
    },
    'GET /v1/health/state/:state': async (request) => {
      const headers = await waitForNews([instances], request);
      const {state} = request.params;
      const all = instances.list().flatMap(checksOf);
      return {headers, body: all.filter(({Status}) => state === 'any' || Status === state)};
    },
  };
}

function namespaceOf(query: URLSearchParams): string {
  return query.get('ns') || defaultNamespace;
}

function target({params, query}: ApiRequest): {readonly namespace: string; readonly id: string} {
  return {namespace: namespaceOf(query), id: params['id']!};
}

function get(registry: Registry, request: ApiRequest): NonNullable<ReturnType<Registry['find']>> {
  const {namespace, id} = target(request);
  const found = registry.find(namespace, id);
  if (found === undefined) throw new RegistryError(404, `unknown service ID: ${id}`);
  return found;
}

function hasTags({tags}: ServiceInstance, query: URLSearchParams): boolean {
  return query.getAll('tag').every((tag) => tags.includes(tag));
}

function agentService({id, name, tags, meta, port, address, weight, warningWeight, namespace}: Registration) {
  return {
    ID: id,
    Service: name,
    Tags: tags,
    Meta: meta,
    Port: port,
    Address: address,
    Weights: {Passing: weight, Warning: warningWeight},
    EnableTagOverride: false,
    Datacenter: 'dc1',
    Namespace: namespace,
  };
}

function healthService({id, name, tags, meta, port, address, weight, namespace}: ServiceInstance) {
  return {
    ID: id,
    Service: name,
    Tags: tags,
    Meta: meta,
    Port: port,
    Address: address,
    Weights: {Passing: weight, Warning: weight},
    Namespace: namespace,
  };
}

function catalogService({node, id, name, tags, meta, port, address, namespace}: ServiceInstance) {
  return {
    Node: node,
    Address: address,
    Datacenter: 'dc1',
    ServiceID: id,
    ServiceName: name,
    ServiceTags: tags,
    ServiceMeta: meta,
    ServiceAddress: address,
    ServicePort: port,
    Namespace: namespace,
  };
}

function bareCheck({node, id, name}: ServiceInstance) {
  return {
    Node: node,
    CheckID: `service:${id}`,
    Name: `check of ${id}`,
    Notes: '',
    Output: '',
    ServiceID: id,
    ServiceName: name,
  };
}

function checkOf({id, name, tags}: Registration, {definition, status, output}: CheckState, node: string) {
  return {
    Node: node,
    CheckID: definition.id,
    Name: definition.name,
    Status: status,
    Notes: definition.notes,
    Output: output.slice(0, 4096),
    ServiceID: id,
    ServiceName: name,
    ServiceTags: tags,
  };
}

function agentHealth(registration: Registration, checks: readonly CheckState[], node: string) {
  return {
    AggregatedStatus: healthOf(registration, checks),
    Service: agentService(registration),
    Checks: checks.map((check) => checkOf(registration, check, node)),
  };
}
