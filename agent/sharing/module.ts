import {readFileSync} from 'node:fs';
import {Gauge} from 'prom-client';
import {EtcdClient} from '../etcd/client.ts';
import {KeptLease} from '../etcd/lease.ts';
import {Store} from '../etcd/store.ts';
import type {KeyValue} from '../etcd/wire.ts';
import {HttpAgents} from '../outbound/http-agents.ts';
import type {AgentContext, AgentModule} from '../module.ts';
import type {ModuleRow} from '../modules.ts';
import type {SharingConf} from './conf.ts';
import {definedBy, readShared, sharingLayout, type Shared} from './layout.ts';
import {SharingPublisher} from './publisher.ts';
import {readSnapshot, writeSnapshot} from './snapshot.ts';
import {planWanted} from './wanted.ts';

export const sharingRow: ModuleRow = {
  name: 'sharing',
  isWanted: ({sharing}) => sharing !== undefined,
  create: (context) => new Sharing(context, context.config.sharing!),
};

const serviceDomain = 'weft.internal';
// etcd tells of its progress every ten minutes when nothing else happens.
const idleMs = 15 * 60_000;

/** The module `sharing`: tells other hosts of this one's names and services through etcd, and this one of theirs. */
class Sharing implements AgentModule {
  readonly name = 'sharing';
  readonly #context: AgentContext;
  readonly #conf: SharingConf;
  readonly #layout;
  readonly #client: EtcdClient;
  readonly #own: Store;
  readonly #skydns: Store;
  readonly #lease: KeptLease;
  readonly #publisher: SharingPublisher;
  readonly #ends: (() => void)[] = [];
  #isAdopted = false;
  /** What this host has is known whole: what is in etcd beyond it may go. */
  #isReady = false;
  #isClosed = false;
  #publishing: Promise<void> = Promise.resolve();
  #soon: NodeJS.Timeout | undefined;
  #snapshotTimer: NodeJS.Timeout | undefined;
  #failures = 0;
  #fault: {readonly reason: string; readonly sinceMs: number} | undefined;
  #written = 0;

  constructor(context: AgentContext, conf: SharingConf) {
    const {log, metrics} = context;
    this.#context = context;
    this.#conf = conf;
    this.#layout = sharingLayout(conf.prefix);
    const agents = new HttpAgents(() => ({
      ca: read(conf.caFile),
      cert: read(conf.certFile),
      key: read(conf.keyFile),
    }));
    const {user, endpoints, requestTimeoutMs} = conf;
    const credentials =
      user === undefined
        ? undefined
        : () => ({name: user, password: read(conf.passwordFile)?.replace(/\r?\n$/, '') ?? ''});
    const client = new EtcdClient({endpoints, agents, credentials, requestTimeoutMs, log});
    this.#client = client;
    const retry = {firstMs: conf.retryMs, mostMs: conf.retryMaxMs};
    const common = {
      client,
      log,
      retry,
      idleMs,
      probeMs: conf.probeMs,
      onFault: (error: Error) => this.#fail(error),
    };
    this.#own = new Store({
      ...common,
      prefix: this.#layout.root,
      onChange: () => this.#hear(),
      onHealthy: () => this.#heal(),
    });
    const skydnsPrefix = `${conf.skydnsPath}/`;
    this.#skydns = new Store({
      ...common,
      prefix: skydnsPrefix,
      onChange: () => this.#say(),
      onHealthy: () => this.#heal(),
    });
    this.#lease = new KeptLease({client, ttlS: conf.leaseTtlS, retry, log, onLost: () => this.#say()});
    this.#publisher = new SharingPublisher({
      client,
      log,
      stores: [
        {prefix: this.#layout.root, store: this.#own},
        {prefix: skydnsPrefix, store: this.#skydns},
      ],
    });
    addGauge(metrics, 'keys_written', 'Keys written to etcd', () => this.#written);
    addGauge(
      metrics,
      'stale_seconds',
      'For how long etcd has not answered; names and services of other hosts are as old',
      () => (this.#fault === undefined ? 0 : (performance.now() - this.#fault.sinceMs) / 1000),
    );
  }

  async start(): Promise<void> {
    const {catalog, log} = this.#context;
    const before = readSnapshot(this.#conf.snapshot);
    if (before) {
      log.info(
        {containers: before.containers.length, instances: before.instances.length},
        'what was last known of other hosts',
      );
      this.#take(before);
    }
    const say = () => this.#say();
    this.#ends.push(
      catalog.containers.subscribe(say),
      catalog.instances.subscribe(say),
      catalog.services.subscribe(say),
    );
    this.#own.start();
    this.#skydns.start();
  }

  allStarted(): void {
    this.#isReady = true;
    this.#say();
  }

  async stop(): Promise<void> {
    this.#isClosed = true;
    for (const end of this.#ends) end();
    clearTimeout(this.#soon);
    this.#saveNow();
    // Our keys stay until the lease ends: an agent that is started again finds them.
    this.#client.close();
    await Promise.all([this.#own.close(), this.#skydns.close(), this.#lease.close(), this.#publishing]);
  }

  async reconcile(): Promise<void> {
    this.#say();
    await this.#publishing;
  }

  /** Names and services of this host work without the store: the node is ready. */
  notReady(): readonly string[] {
    return [];
  }

  status(): unknown {
    const {catalog} = this.#context;
    return {
      endpoints: this.#conf.endpoints,
      revision: this.#own.revision,
      lease: this.#lease.id,
      fault: this.#fault?.reason,
      staleSeconds:
        this.#fault === undefined ? 0 : Math.round((performance.now() - this.#fault.sinceMs) / 1000),
      remote: {
        containers: catalog.containers.list('remote').length,
        instances: catalog.instances.list('remote').length,
        services: catalog.services.list('remote').length,
      },
    };
  }

  #say(): void {
    if (this.#isClosed || !this.#isReady || !this.#own.isListed || !this.#skydns.isListed) return;
    this.#soon ??= setTimeout(() => {
      this.#soon = undefined;
      this.#publishing = this.#publishing.then(() => this.#publish());
    }, this.#conf.debounceMs);
  }

  async #publish(): Promise<void> {
    if (this.#isClosed) return;
    const {node, catalog, log} = this.#context;
    try {
      const lease = await this.#ensureLease();
      this.#yieldServices();
      const wanted = planWanted(catalog, {
        node,
        lease,
        layout: this.#layout,
        skydnsPath: this.#conf.skydnsPath,
        serviceDomain,
      });
      this.#written += await this.#publisher.publish(wanted, {lease, isOwn: (kv) => this.#isOwn(kv, lease)});
      this.#failures = 0;
    } catch (error) {
      if (this.#isClosed) return;
      log.warn({error}, 'names and services could not be told to other hosts');
      this.#fail(error as Error);
      const {retryMs, retryMaxMs} = this.#conf;
      const pause = Math.min(retryMs * 2 ** Math.min(this.#failures++, 10), retryMaxMs);
      // It may be the lease that is gone.
      void this.#lease.check().catch(() => {});
      setTimeout(() => this.#say(), pause).unref();
    }
  }

  /** The lease that an agent before us had, if it lives: then its keys need not be written again. */
  async #ensureLease(): Promise<string> {
    if (!this.#isAdopted) {
      const kv = this.#own.entries.get(this.#layout.node(this.#context.node));
      if (kv !== undefined && kv.lease !== '0') await this.#lease.adopt(kv.lease);
      this.#isAdopted = true;
    }
    return this.#lease.ensure();
  }

  /** Of a service that another host changed after us, theirs counts. */
  #yieldServices(): void {
    const {services} = this.#context.catalog;
    const {node} = this.#context;
    for (const service of services.list('local')) {
      const kv = this.#own.entries.get(this.#layout.service(service));
      if (kv === undefined || definedBy(kv.value) === node) continue;
      const {updatedAt = 0} = JSON.parse(kv.value) as {updatedAt?: number};
      if (updatedAt > (service.updatedAt ?? 0)) services.remove('local', service.key);
    }
  }

  #isOwn({key, lease, value}: KeyValue, own: string): boolean {
    if (lease === own) return true;
    if (key.startsWith(`${this.#layout.root}services/`)) return definedBy(value) === this.#context.node;
    const node = encodeURIComponent(this.#context.node);
    return ['containers', 'instances'].some((kind) => key.startsWith(`${this.#layout.root}${kind}/${node}/`));
  }

  #hear(): void {
    const entries = [...this.#own.entries].map(([key, {value}]) => [key, value] as const);
    this.#take(readShared(entries, this.#layout, this.#context.node));
    this.#snapshotTimer ??= setTimeout(() => this.#saveNow(), this.#conf.snapshotMs);
    // What is ours may have been changed or removed.
    this.#say();
  }

  #take({containers, instances, services}: Shared): void {
    const {catalog} = this.#context;
    catalog.containers.replace('remote', containers);
    catalog.instances.replace('remote', instances);
    catalog.services.replace('remote', services);
  }

  #saveNow(): void {
    clearTimeout(this.#snapshotTimer);
    this.#snapshotTimer = undefined;
    if (!this.#own.isListed) return;
    const {catalog, log} = this.#context;
    try {
      writeSnapshot(this.#conf.snapshot, {
        containers: catalog.containers.list('remote'),
        instances: catalog.instances.list('remote'),
        services: catalog.services.list('remote'),
      });
    } catch (error) {
      log.warn({error, file: this.#conf.snapshot}, 'what is known of other hosts could not be kept');
    }
  }

  #fail(error: Error): void {
    this.#fault = {reason: error.message, sinceMs: this.#fault?.sinceMs ?? performance.now()};
  }

  #heal(): void {
    if (this.#fault) this.#context.log.info('etcd answers again');
    this.#fault = undefined;
    this.#say();
  }
}

function addGauge(registry: AgentContext['metrics'], name: string, help: string, value: () => number): Gauge {
  return new Gauge({
    name: `weft_sharing_${name}`,
    help,
    registers: [registry],
    collect() {
      this.set(value());
    },
  });
}

function read(path: string | undefined): string | undefined {
  return path === undefined ? undefined : readFileSync(path, 'utf8');
}
