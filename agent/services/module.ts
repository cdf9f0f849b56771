import {parseCidr, type Cidr} from '../../lib/ip/cidr.ts';
import type {Change} from '../catalog/collection.ts';
import {isEarlier, type ServiceDefinition, type ServiceInstance} from '../catalog/model.ts';
import type {AgentContext, AgentModule} from '../module.ts';
import type {ModuleRow} from '../modules.ts';
import {Balancer} from './balancer.ts';
import {defaultServices, type ServicesConf} from './conf.ts';
import {planFrontends, type Frontend} from './frontend.ts';
import {findLocals} from './locals.ts';
import {createServicesMetrics} from './metrics.ts';
import {ensureServiceRoutes} from './route.ts';
import {forgetStaleConnections} from './udp.ts';
import {LatencyWeights} from './weights.ts';

/** On unless the configuration says otherwise: without services that have addresses it does nothing. */
export const servicesRow: ModuleRow = {
  name: 'services',
  isWanted: ({services}) => services?.enabled ?? true,
  create: (context) => createServices(context, context.config.services ?? defaultServices()),
};

/** After a failure. */
const retryMs = 1000;

/** The module `services`: connections to services' addresses are spread over their instances, in the kernel. */
function createServices({catalog, host, log, metrics}: AgentContext, conf: ServicesConf): AgentModule {
  const ranges = conf.ranges
    .map((text) => parseCidr(text))
    .filter((cidr): cidr is Cidr => cidr !== undefined);
  const weights = new LatencyWeights();
  const balancer = new Balancer({nft: () => host.nft, log});
  /** What the kernel shall have, by key. */
  const frontends = new Map<string, Frontend>();
  /** The frontends that services ask for, by key and then by service: more than one has a key only by mistake, or for a moment. */
  const claims = new Map<string, Map<string, Frontend>>();
  /** Which of them are a service's. */
  const keysOf = new Map<string, readonly string[]>();
  /** How many frontends lead to each address of an instance. */
  const uses = new Map<string, number>();
  let usesChanged = false;
  /** Services that are to be looked at. */
  const dirty = new Set<string>();
  let failure: string | undefined;
  let isVerified = false;
  let working: Promise<void> = Promise.resolve();
  const timers: NodeJS.Timeout[] = [];
  let soon: NodeJS.Timeout | undefined;
  const ends: (() => void)[] = [];
  const figures = createServicesMetrics(metrics, () => ({
    services: catalog.services.size,
    frontends: balancer.frontends,
    transactions: balancer.transactions,
  }));

  function mark(keys: Iterable<string>): void {
    for (const key of keys) dirty.add(key);
    if (dirty.size > 0) soon ??= setTimeout(() => void work(), conf.debounceMs);
  }

  /** One after the other; a failure is tried again by the clock. */
  function work(): Promise<void> {
    clearTimeout(soon);
    soon = undefined;
    working = working.then(async () => {
      const started = performance.now();
      try {
        await reconcile();
        failure = undefined;
      } catch (error) {
        log.error({error}, 'the rules of services could not be changed');
        failure = `the rules of services could not be changed: ${(error as Error).message}`;
        // What the kernel has is not known any more.
        isVerified = false;
        soon ??= setTimeout(() => void work(), retryMs);
      }
      figures.observe((performance.now() - started) / 1000);
    });
    return working;
  }

  async function reconcile(): Promise<void> {
    const changes = takeChanges();
    if (isVerified && changes.size === 0) return balancer.sweep();
    if (isVerified) await balancer.apply(changes);
    else {
      const repaired = await balancer.resync([...frontends.values()]);
      if (repaired > 0) log.info({frontends: repaired}, 'the rules of services were brought in line');
      isVerified = true;
      usesChanged = true;
    }
    if (usesChanged) {
      const targets = [...uses.keys()];
      await balancer.applyLocals(await findLocals(host, targets));
      await ensureServiceRoutes(host, {ranges, targets, isUsed: frontends.size > 0});
      usesChanged = false;
    }
    await forgetStaleConnections(
      host,
      [...changes.values()].filter((each) => each !== undefined),
    );
  }

  /** The frontends of services that were marked, as they differ from before. */
  function takeChanges(): Map<string, Frontend | undefined> {
    const changes = new Map<string, Frontend | undefined>();
    const byService = new Map<string, ServiceInstance[]>();
    if (dirty.size > 0) {
      for (const instance of catalog.instances.list()) {
        const key = serviceOf(instance);
        if (!dirty.has(key)) continue;
        const members = byService.get(key) ?? [];
        byService.set(key, members);
        members.push(instance);
      }
    }
    const touched = new Set<string>();
    for (const key of dirty) {
      const planned = plan(catalog.services.find(key)?.value, byService.get(key) ?? []);
      for (const old of keysOf.get(key) ?? []) {
        claims.get(old)?.delete(key);
        touched.add(old);
      }
      for (const frontend of planned) {
        const claimants = claims.get(frontend.key) ?? new Map<string, Frontend>();
        claims.set(frontend.key, claimants.set(key, frontend));
        touched.add(frontend.key);
      }
      const keys = planned.map((each) => each.key);
      if (keys.length > 0) keysOf.set(key, keys);
      else keysOf.delete(key);
    }
    for (const key of touched) {
      const before = frontends.get(key);
      const after = winnerOf(key);
      if (JSON.stringify(describe(before)) === JSON.stringify(describe(after))) continue;
      use(before, -1);
      use(after, 1);
      if (after) frontends.set(key, after);
      else frontends.delete(key);
      changes.set(key, after);
    }
    dirty.clear();
    return changes;
  }

  /** Of several services at one address the earliest has it, on every host. */
  function winnerOf(key: string): Frontend | undefined {
    const claimants = claims.get(key);
    if (claimants?.size === 0) claims.delete(key);
    const services = [...(claimants?.keys() ?? [])].flatMap(
      (service) => catalog.services.find(service)?.value ?? [],
    );
    const [first, ...others] = services;
    if (first === undefined) return undefined;
    const winner = others.reduce((best, each) => (isEarlier(each, best) ? each : best), first);
    return claimants?.get(winner.key);
  }

  function use(frontend: Frontend | undefined, by: 1 | -1): void {
    for (const {address} of frontend?.targets ?? []) {
      const count = (uses.get(address) ?? 0) + by;
      if (count === 0) uses.delete(address);
      else uses.set(address, count);
      if (count === 0 || (count === 1 && by === 1)) usesChanged = true;
    }
  }

  function plan(
    service: ServiceDefinition | undefined,
    instances: readonly ServiceInstance[],
  ): readonly Frontend[] {
    if (service === undefined) return [];
    const isMeasured = service.policy === 'leastLatency';
    if (isMeasured) weights.update(instances);
    return planFrontends(service, instances, isMeasured ? (each) => weights.weightOf(each) : undefined);
  }

  /** Latencies change all the time: services that go by them are looked at by the clock. */
  function onInstances(changes: readonly Change<ServiceInstance>[]): void {
    for (const {key, after} of changes) if (!after) weights.forget(key);
    const relevant = changes.filter(
      ({before, after}) => !before || !after || !isOnlySlower(before.value, after.value),
    );
    mark(
      relevant.flatMap(({before, after}) =>
        [before, after].flatMap((held) => (held ? [serviceOf(held.value)] : [])),
      ),
    );
  }

  return {
    name: 'services',
    async start() {
      ends.push(
        catalog.services.subscribe((changes) => mark(changes.map(({key}) => key))),
        catalog.instances.subscribe(onInstances),
      );
      await work();
      timers.push(
        setInterval(() => {
          isVerified = false;
          void work();
        }, conf.resyncMs),
        setInterval(() => {
          mark(catalog.services.list().flatMap(({key, policy}) => (policy === 'leastLatency' ? [key] : [])));
        }, conf.weightsMs),
      );
    },
    async stop() {
      for (const timer of timers) clearInterval(timer);
      clearTimeout(soon);
      for (const end of ends) end();
      await working;
    },
    reconcile() {
      isVerified = false;
      return work();
    },
    notReady: () => (failure === undefined ? [] : [failure]),
    status: () => ({
      services: catalog.services.list().map((service) => ({
        namespace: service.namespace,
        name: service.name,
        addresses: service.addresses,
        policy: service.policy,
        frontends: (keysOf.get(service.key) ?? []).map((key) => ({
          frontend: key,
          instances:
            frontends.get(key)?.targets.map(({address, port, weight}) => ({address, port, weight})) ?? [],
        })),
      })),
    }),
  };
}

const serviceOf = ({namespace, name}: ServiceInstance) => `${namespace}/${name}`;

/** All that decides about a frontend's rules; addresses are objects of which JSON knows nothing useful. */
function describe(frontend: Frontend | undefined): unknown {
  if (frontend === undefined) return undefined;
  const {address, sources, ...rest} = frontend;
  return {
    ...rest,
    address: address.toString(),
    sources: sources?.map(({ip, prefix}) => `${ip.toString()}/${prefix}`),
  };
}

function isOnlySlower(before: ServiceInstance, after: ServiceInstance): boolean {
  return JSON.stringify({...before, latencyMs: 0}) === JSON.stringify({...after, latencyMs: 0});
}
