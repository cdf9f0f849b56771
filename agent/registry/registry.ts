import type {Catalog} from '../catalog/catalog.ts';
import type {Change} from '../catalog/collection.ts';
import type {Health, NamedContainer, ServiceDefinition, ServiceInstance} from '../catalog/model.ts';
import type {Logger} from '../../lib/log.ts';
import type {Json} from '../../lib/cni/types.ts';
import type {Cidr} from '../../lib/ip/cidr.ts';
import {CheckWatcher, type CheckState, type WatcherOptions} from './checks/watcher.ts';
import {planAddresses} from './conflicts.ts';
import {parseDefinition} from './definition.ts';
import {parseService} from '../catalog/shapes.ts';
import {readHealth, readRegistration, type KeptHealth} from './kept.ts';
import {RegistryError, type CheckDefinition, type Registration} from './registration.ts';
import {FileStore} from './store.ts';

export interface RegistryOptions {
  readonly node: string;
  readonly catalog: Catalog;
  readonly log: Logger;
  /** Where registrations and services are kept. */
  readonly dir: string;
  /** Where it is kept how they are, for the next agent; not beyond a reboot. */
  readonly stateDir: string;
  /** Where services' addresses come from. */
  readonly ranges: readonly Cidr[];
  readonly watcher?: Omit<WatcherOptions, 'onChange'>;
}

interface Member {
  registration: Registration;
  readonly checks: Map<string, CheckWatcher>;
}

const severity: Readonly<Record<Health, number>> = {passing: 0, warning: 1, critical: 2};

/** What is registered on this host: kept in files, looked after by checks, told to the catalog. */
export class Registry {
  readonly #options: RegistryOptions;
  readonly #registrations: FileStore<Registration>;
  readonly #definitions: FileStore<ServiceDefinition>;
  readonly #health: FileStore<KeptHealth>;
  /** What the files say. */
  readonly #kept = new Map<string, KeptHealth>();
  readonly #ends: (() => void)[] = [];
  readonly #members = new Map<string, Member>();
  #timer: NodeJS.Timeout | undefined;

  constructor(options: RegistryOptions) {
    this.#options = options;
    const {dir, stateDir, log} = options;
    this.#registrations = new FileStore(`${dir}/instances`, {parse: readRegistration, log});
    this.#definitions = new FileStore(`${dir}/services`, {parse: parseService, log});
    this.#health = new FileStore(stateDir, {parse: readHealth, log});
  }

  /** Takes up what was registered before, and begins to look. */
  start({reapMs}: {readonly reapMs: number}): void {
    const {catalog} = this.#options;
    for (const definition of this.#definitions.list()) catalog.services.put('local', definition);
    for (const kept of this.#health.list()) this.#kept.set(kept.key, kept);
    for (const registration of this.#registrations.list()) this.#take(registration);
    this.#ends.push(
      catalog.services.subscribe((changes) => this.#onServices(changes)),
      catalog.containers.subscribe((changes) => this.#onContainers(changes)),
    );
    this.#timer = setInterval(() => this.#reap(), reapMs);
  }

  stop(): void {
    clearInterval(this.#timer);
    for (const end of this.#ends) end();
    for (const {checks} of this.#members.values()) for (const check of checks.values()) check.close();
  }

  /** Registers, or changes what is registered under the id; checks that did not change go on. */
  register(registration: Registration): void {
    this.#registrations.put(keyOf(registration), registration);
    this.#take(registration);
  }

  /** Tells whether it was there. */
  deregister(namespace: string, id: string): boolean {
    const key = keyOf({namespace, id});
    const member = this.#members.get(key);
    if (member === undefined) return false;
    for (const check of member.checks.values()) check.close();
    this.#members.delete(key);
    this.#registrations.remove(key);
    this.#health.remove(key);
    this.#kept.delete(key);
    this.#options.catalog.instances.remove('local', this.#instanceKey(member.registration));
    return true;
  }

  /** Changes a part of a registration: maintenance, draining. Throws RegistryError 404. */
  update(
    namespace: string,
    id: string,
    change: Partial<Pick<Registration, 'maintenance' | 'draining' | 'checks'>>,
  ): void {
    const {registration} = this.#get(namespace, id);
    this.register({...registration, ...change});
  }

  /** A heartbeat of a check. Throws RegistryError 404 for one that is not there. */
  beat(checkId: string, status: Health, output: string): void {
    for (const {checks} of this.#members.values()) {
      const check = checks.get(checkId);
      if (check === undefined) continue;
      if (check.state.definition.ttlMs === undefined) {
        throw new RegistryError(400, `the check "${checkId}" has no TTL: it takes no heartbeats`);
      }
      check.beat(status, output);
      return;
    }
    throw new RegistryError(404, `there is no check "${checkId}" on this host`);
  }

  find(
    namespace: string,
    id: string,
  ): {readonly registration: Registration; readonly checks: readonly CheckState[]} | undefined {
    const member = this.#members.get(keyOf({namespace, id}));
    return member && {registration: member.registration, checks: statesOf(member)};
  }

  list(): readonly {readonly registration: Registration; readonly checks: readonly CheckState[]}[] {
    return [...this.#members.values()].map((member) => ({
      registration: member.registration,
      checks: statesOf(member),
    }));
  }

  /** Gives a service an address and a policy, or changes them. Throws RegistryError. */
  define(namespace: string, name: string, json: Json): ServiceDefinition {
    const {catalog, ranges} = this.#options;
    const before = catalog.services.find(`${namespace}/${name}`)?.value;
    const taken = new Set(catalog.services.list().flatMap(({addresses}) => addresses));
    const parsed = parseDefinition(json, {namespace, name, ranges, before, taken});
    const updatedAt = Math.max(Date.now(), (before?.updatedAt ?? 0) + 1);
    const isSame = parsed.addresses.every((address) => before?.addresses.includes(address));
    const addressedAt = isSame ? (before?.addressedAt ?? updatedAt) : updatedAt;
    const definition = {...parsed, addressedAt, updatedAt};
    this.#definitions.put(definition.key, definition);
    catalog.services.put('local', definition);
    return definition;
  }

  /** Tells whether it was there. */
  undefine(namespace: string, name: string): boolean {
    const key = `${namespace}/${name}`;
    this.#definitions.remove(key);
    return this.#options.catalog.services.remove('local', key);
  }

  #take(registration: Registration): void {
    const key = keyOf(registration);
    const known = this.#members.get(key);
    const checks = new Map<string, CheckWatcher>();
    for (const definition of registration.checks) {
      const before = known?.checks.get(definition.id);
      const isSame = before && JSON.stringify(before.state.definition) === JSON.stringify(definition);
      checks.set(definition.id, isSame ? before : this.#watch(key, definition));
    }
    for (const [id, check] of known?.checks ?? []) if (checks.get(id) !== check) check.close();
    const member = {registration, checks};
    this.#members.set(key, member);
    // A changed name or address is another instance to everybody else.
    const before = known && this.#instanceKey(known.registration);
    if (before !== undefined && before !== this.#instanceKey(registration)) {
      this.#options.catalog.instances.remove('local', before);
    }
    this.#tell(member);
  }

  #watch(key: string, definition: CheckDefinition): CheckWatcher {
    const onChange = () => {
      const member = this.#members.get(key);
      if (member) this.#tell(member);
    };
    const before = this.#kept.get(key)?.checks[definition.id];
    return new CheckWatcher(definition, {...this.#options.watcher, before, onChange});
  }

  /** An agent that starts does not begin by taking everybody for sick. */
  #keep(key: string, states: readonly CheckState[]): void {
    if (states.length === 0) return;
    const statuses = (kept: KeptHealth | undefined) =>
      JSON.stringify(Object.entries(kept?.checks ?? {}).map(([id, {status}]) => [id, status]));
    const checks = states.map(
      ({definition, status, output}) => [definition.id, {status, output: output.slice(0, 4096)}] as const,
    );
    const kept = {key, checks: Object.fromEntries(checks)};
    if (statuses(kept) === statuses(this.#kept.get(key))) return;
    this.#kept.set(key, kept);
    try {
      this.#health.put(key, kept);
    } catch (error) {
      this.#options.log.warn({error, key}, 'how an instance is could not be kept');
    }
  }

  /** Containers that come later say whose network an instance is in. */
  #onContainers(changes: readonly Change<NamedContainer>[]): void {
    const ips = new Set(changes.flatMap(({before, after}) => (after ?? before)?.value.ips ?? []));
    for (const member of this.#members.values()) {
      if (ips.has(member.registration.address)) this.#tell(member);
    }
  }

  #onServices(changes: readonly Change<ServiceDefinition>[]): void {
    for (const {key, before, after} of changes) {
      // Another host has the word now: what was said here must not come back with the next agent.
      if (before?.origin === 'local' && after?.origin === 'remote') this.#definitions.remove(key);
    }
    this.#solveConflicts();
  }

  /** Two hosts may have given two services one address at the same time: the later one gets another. */
  #solveConflicts(): void {
    const {catalog, log, ranges} = this.#options;
    for (const {before, after, address, owner} of planAddresses(catalog.services, ranges)) {
      const now = after.addresses;
      log.warn({service: before.key, address, owner, now}, 'an address belongs to an earlier service');
      // One that somebody asked for by hand stays as it is, without effect, until one of the two goes.
      if (after === before) continue;
      this.#definitions.put(after.key, after);
      catalog.services.put('local', after);
    }
  }

  #tell(member: Member): void {
    const {catalog, node} = this.#options;
    const {registration: r} = member;
    const states = statesOf(member);
    const health = healthOf(r, states);
    const latencies = states.flatMap(({latencyMs}) => (latencyMs === undefined ? [] : [latencyMs]));
    const instance: ServiceInstance = {
      key: this.#instanceKey(r),
      node,
      namespace: r.namespace,
      name: r.name,
      id: r.id,
      network: r.network ?? this.#networkOf(r.address),
      address: r.address,
      port: r.port,
      protocol: r.protocol,
      tags: r.tags,
      meta: r.meta,
      weight: health === 'warning' ? r.warningWeight : r.weight,
      health,
      draining: r.draining,
      ...(latencies.length > 0 && {latencyMs: Math.round(Math.max(...latencies) * 1000) / 1000}),
    };
    catalog.instances.put('local', instance);
    this.#keep(keyOf(r), states);
  }

  /** The network of the container that has an address. */
  #networkOf(address: string): string | undefined {
    return this.#options.catalog.containers.list().find(({ips}) => ips.includes(address))?.network;
  }

  #instanceKey({namespace, id}: Registration): string {
    return `${namespace}/${id}@${this.#options.node}`;
  }

  #get(namespace: string, id: string): Member {
    const member = this.#members.get(keyOf({namespace, id}));
    if (member === undefined)
      throw new RegistryError(404, `there is no instance "${id}" in namespace "${namespace}" on this host`);
    return member;
  }

  /** Deregisters what was critical for too long. */
  #reap(): void {
    const now = (this.#options.watcher?.now ?? (() => performance.now()))();
    for (const member of this.#members.values()) {
      const dead = statesOf(member).find(
        ({definition: {deregisterAfterMs}, criticalSinceMs}) =>
          deregisterAfterMs > 0 &&
          criticalSinceMs !== undefined &&
          now - criticalSinceMs >= deregisterAfterMs,
      );
      if (dead === undefined) continue;
      const {namespace, id} = member.registration;
      this.#options.log.warn(
        {namespace, id, check: dead.definition.id},
        'deregistered: critical for too long',
      );
      this.deregister(namespace, id);
    }
  }
}

const keyOf = ({namespace, id}: Pick<Registration, 'namespace' | 'id'>) => `${namespace}/${id}`;

function statesOf({checks}: Member): readonly CheckState[] {
  return [...checks.values()].map(({state}) => state);
}

/** As its worst check; one without checks is well, one in maintenance is not. */
export function healthOf({maintenance}: Registration, states: readonly CheckState[]): Health {
  if (maintenance !== undefined) return 'critical';
  return states.reduce<Health>(
    (worst, {status}) => (severity[status] > severity[worst] ? status : worst),
    'passing',
  );
}
