import {readFileSync} from 'node:fs';
import {formatIp} from '../../../lib/ip/address.ts';
import type {OverlayNetwork} from '../../../lib/overlay/member.ts';
import {pauseMs} from '../../outbound/backoff.ts';
import {HttpAgents} from '../../outbound/http-agents.ts';
import type {
  Advertisement,
  Membership,
  MembershipContext,
  MembershipEvents,
  Snapshot,
} from '../membership.ts';
import {Outage} from '../outage.ts';
import {Publisher} from '../publisher.ts';
import {EtcdClient} from '../../etcd/client.ts';
import {checkEtcdConf, type EtcdConf} from './conf.ts';
import {ConflictError} from './conflict.ts';
import type {FlannelConfig} from '../flannel-config.ts';
import {NetworkConfig} from './network-config.ts';
import {layoutOf, type Layout} from './layout.ts';
import {KeptLease} from '../../etcd/lease.ts';
import {membersOf} from './members.ts';
import {Registration} from './registration.ts';
import {Store} from '../../etcd/store.ts';

export interface EtcdContext extends MembershipContext {
  /** Of the running kernel: tells a restart of the agent from another host of the same name. */
  readonly boot?: string;
  readonly random?: () => number;
}

// etcd tells of its progress every ten minutes when nothing else happens.
const idleMs = 15 * 60_000;

/**
 * Members of a network in etcd, in flannel's key layout: hosts that run flannel and hosts that run this see each other.
 * Throws an Error for a combination of keys that cannot work.
 */
export function createEtcdMembership(conf: EtcdConf, context: EtcdContext): Membership {
  checkEtcdConf(conf);
  return new EtcdMembership(conf, context);
}

interface Published {
  readonly name: string | undefined;
  readonly self: Advertisement | undefined;
  readonly config: object;
}

class EtcdMembership implements Membership {
  readonly kind = 'etcd';
  readonly #conf: EtcdConf;
  readonly #context: EtcdContext;
  readonly #publisher = new Publisher();
  readonly #agents: HttpAgents;
  readonly #client: EtcdClient;
  readonly #store: Store;
  readonly #leases: readonly KeptLease[];
  readonly #registration: Registration;
  readonly #outage: Outage;
  readonly #layout: Layout;
  readonly #config: NetworkConfig;
  #self: Advertisement | undefined;
  #registering: Promise<void> | undefined;
  #again = false;
  #failures = 0;
  #retry: NodeJS.Timeout | undefined;
  #publishing: NodeJS.Immediate | undefined;
  #isClosed = false;
  /** Why our own keys are not as they should be. */
  #selfFault: {readonly kind: 'conflict' | 'error'; readonly reason: string} | undefined;
  #isRegistered = false;
  /** What the last snapshot said of us. */
  #published: Published | undefined;

  constructor(conf: EtcdConf, context: EtcdContext) {
    const {log, nodeId, previousSubnets = [], boot = readBoot(), random = Math.random} = context;
    this.#conf = conf;
    this.#context = context;
    this.#layout = layoutOf(conf.prefix);
    this.#config = new NetworkConfig(this.#layout.config, log);
    this.#agents = new HttpAgents(() => ({
      ca: read(conf.caFile),
      cert: read(conf.certFile),
      key: read(conf.keyFile),
    }));
    const {user, passwordFile} = conf;
    const client = new EtcdClient({
      endpoints: conf.endpoints,
      agents: this.#agents,
      credentials:
        user === undefined
          ? undefined
          : () => ({name: user, password: read(passwordFile)?.replace(/\r?\n$/, '') ?? ''}),
      requestTimeoutMs: conf.requestTimeoutMs,
      log,
    });
    this.#client = client;
    const retry = {firstMs: conf.retryMs, mostMs: conf.retryMaxMs};
    this.#store = new Store({
      client,
      prefix: this.#layout.root,
      log,
      retry,
      idleMs,
      probeMs: conf.probeMs,
      onChange: () => this.#changed(),
      onFault: (error) => this.#outage.begin(error),
      onHealthy: () => {
        if (this.#outage.end()) this.#register();
      },
    });
    this.#outage = new Outage({
      afterMs: conf.staleAfterMs,
      log,
      source: 'etcd',
      onChange: () => this.#enterState(),
    });
    const onLost = () => this.#register();
    const lease = new KeptLease({client, ttlS: conf.leaseTtlS, retry, log, onLost});
    const aliveLease =
      conf.aliveTtlS === 0 ? undefined : new KeptLease({client, ttlS: conf.aliveTtlS, retry, log, onLost});
    this.#leases = aliveLease === undefined ? [lease] : [lease, aliveLease];
    this.#registration = new Registration({
      client,
      store: this.#store,
      layout: this.#layout,
      nodeId,
      boot,
      previousSubnets,
      lease,
      aliveLease,
      log,
      random,
    });
  }

  get state() {
    return this.#publisher.state;
  }

  start(events: MembershipEvents): void {
    this.#publisher.open(events);
    this.#publisher.enter({
      kind: 'starting',
      reason: `connecting to etcd at ${this.#conf.endpoints.join(', ')}`,
    });
    this.#store.start();
  }

  advertise(self: Advertisement): void {
    const before = this.#self?.underlay.map(formatIp).join();
    // What is under way over connections from an address that is gone would only run into its time limit.
    if (before !== undefined && before !== self.underlay.map(formatIp).join()) this.#agents.renew();
    this.#self = self;
    this.#register();
  }

  get leaseLeftS() {
    return this.#leases[0]?.leftS;
  }

  setReady(): void {}

  reload(): void {
    this.#agents.refresh();
    this.#register();
  }

  async relist(): Promise<Snapshot | undefined> {
    const before = this.#store.isListed;
    try {
      await this.#store.relist(this.#conf.requestTimeoutMs * Math.max(2, this.#conf.endpoints.length));
    } catch (error) {
      this.#context.log.warn({error, before}, 'etcd could not be listed again');
      return undefined;
    }
    this.#publish();
    return this.#publisher.snapshot;
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    this.#publisher.close();
    clearTimeout(this.#retry);
    this.#outage.close();
    clearImmediate(this.#publishing);
    this.#client.close();
    await Promise.all([
      this.#store.close(),
      ...this.#leases.map((lease) => lease.close()),
      this.#registering,
    ]);
  }

  #changed(): void {
    this.#config.read(this.#store.entries.get(this.#layout.config)?.value);
    // One pass for all that came in one go.
    this.#publishing ??= setImmediate(() => this.#publish());
    this.#register();
  }

  #publish(): void {
    clearImmediate(this.#publishing);
    this.#publishing = undefined;
    if (this.#isClosed || this.#config.parsed === undefined || !this.#store.isListed)
      return this.#enterState();
    const {nodeId, network} = this.#context;
    const {divisions, vni, port, directRouting} = this.#config.parsed;
    const ranges = divisions.map(({range}) => range);
    const shape: OverlayNetwork = {...network, vni, port, directRouting, ranges};
    const own = this.#registration.subnets;
    const peers = membersOf(this.#store.entries, {
      layout: this.#layout,
      form: network.form,
      exclude: (claim) => this.#registration.isOwn(claim),
    });
    const self = this.#self && own && {...this.#self, id: nodeId, subnets: own, seniority: 0};
    const published = {name: this.#registration.name, self: this.#self, config: this.#config.parsed};
    const last = this.#publisher.snapshot;
    const before = this.#published;
    const isSame =
      last?.peers.length === peers.length &&
      last.peers.every((peer, i) => peer === peers[i]) &&
      published.name === before?.name &&
      published.self === before?.self &&
      published.config === before?.config;
    if (isSame) return this.#enterState();
    this.#published = published;
    this.#publisher.publish({network: shape, self, peers, revision: String(this.#store.revision)});
    this.#enterState();
  }

  /** Makes our keys right, one pass at a time; what comes meanwhile leads to another pass. */
  #register(): void {
    if (
      this.#isClosed ||
      this.#self === undefined ||
      this.#config.parsed === undefined ||
      !this.#store.isListed
    )
      return;
    if (this.#registering !== undefined) {
      this.#again = true;
      return;
    }
    clearTimeout(this.#retry);
    this.#again = false;
    this.#registering = this.#tryToRegister(this.#self, this.#config.parsed).finally(() => {
      this.#registering = undefined;
      if (this.#again) this.#register();
    });
  }

  async #tryToRegister(self: Advertisement, config: FlannelConfig): Promise<void> {
    try {
      await this.#registration.ensure(self, config);
      this.#failures = 0;
      this.#selfFault = undefined;
      this.#isRegistered = true;
    } catch (error) {
      if (this.#isClosed) return;
      const kind = error instanceof ConflictError ? 'conflict' : 'error';
      const reason = (error as Error).message;
      if (reason !== this.#selfFault?.reason)
        this.#context.log.error({error}, 'own record could not be kept');
      this.#selfFault = {kind, reason};
      // Also a conflict is looked at again, though a change of the store wakes it too.
      const pace = {firstMs: this.#conf.retryMs, mostMs: this.#conf.retryMaxMs};
      this.#retry = setTimeout(() => this.#register(), pauseMs(this.#failures++, pace));
    }
    const {name} = this.#registration;
    if (name !== this.#published?.name || (name !== undefined && self !== this.#published?.self))
      this.#publish();
    else this.#enterState();
  }

  #enterState(): void {
    if (this.#isClosed) return;
    const publisher = this.#publisher;
    const {snapshot} = publisher;
    const fault = this.#selfFault;
    if (fault?.kind === 'conflict') return publisher.enter({kind: 'conflict', reason: fault.reason});
    if (snapshot === undefined || !this.#isRegistered) {
      const reason = this.#outage.reason ?? this.#config.fault ?? fault?.reason ?? 'no subnets yet';
      return publisher.enter({kind: 'starting', reason: `etcd: ${reason}`});
    }
    const {reason: outage} = this.#outage;
    if (this.#outage.isLong)
      return publisher.enter({kind: 'stale', reason: `etcd: ${outage}; the last known members stand`});
    if (outage !== undefined) return;
    const own = fault?.reason ?? this.#config.fault;
    publisher.enter(own === undefined ? {kind: 'ready'} : {kind: 'stale', reason: `etcd: ${own}`});
  }
}

function read(file: string | undefined): string | undefined {
  return file === undefined ? undefined : readFileSync(file, 'utf8');
}

function readBoot(): string {
  return readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim();
}
