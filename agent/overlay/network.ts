import {describeFailure} from '../../lib/cni/failure.ts';
import type {Logger} from '../../lib/log.ts';
import {endpointDirectory} from '../../lib/overlay/endpoint-file.ts';
import type {OverlayNetwork} from '../../lib/overlay/member.ts';
import type {Desired} from '../../lib/overlay/state.ts';
import {createMembership} from '../membership/conf.ts';
import type {Membership, Snapshot} from '../membership/membership.ts';
import {Backoff} from './backoff.ts';
import {Datapath, type Synced} from './datapath.ts';
import {findDelta} from './delta.ts';
import {Encryption} from './encryption.ts';
import {EndpointWatch} from './endpoint-watch.ts';
import {Expected} from './expected.ts';
import {Firewall} from './firewall.ts';
import type {KernelListener} from './kernel-watch.ts';
import {internMembers} from './intern.ts';
import {ReconcileLoop, type Wake} from './loop.ts';
import type {NetworkContext} from './network-context.ts';
import {networkLog} from './network-log.ts';
import {ensurePathMtu} from './path-mtu.ts';
import {PeerKeeper} from './peers.ts';
import {NetworkPlanner} from './planner.ts';
import {Publication, type Working} from './publication.ts';
import {readPublishedSubnets} from './publish.ts';
import {findReasons} from './reasons.ts';
import {Reporter} from './report.ts';
import {findRivalry, sameNetwork} from './rivals.ts';
import {describeNetwork} from './status.ts';
import {UnderlayFollower} from './underlay-follow.ts';

// What nftables refuses it seldom takes a moment later.
const firewallRetryMs = 5000;

type Changed = Parameters<KernelListener['onLink']>[0];

/** Keeps one overlay network's part of this host in step with its membership. */
export class OverlayNetworkAgent implements KernelListener {
  readonly name: string;
  readonly #context: NetworkContext;
  readonly #log: Logger;
  readonly #membership: Membership;
  readonly #loop: ReconcileLoop;
  readonly #underlay: UnderlayFollower;
  readonly #peers: PeerKeeper;
  readonly #failures: Backoff;
  readonly #datapath: Datapath;
  readonly #encryption: Encryption;
  readonly #planner: NetworkPlanner;
  readonly #firewall: Firewall;
  readonly #publication: Publication;
  readonly #reporter: Reporter;
  readonly #endpoints: EndpointWatch | undefined;
  #snapshot: Snapshot | undefined;
  /** When the first snapshot came that is not applied yet. */
  #newsAt: number | undefined;
  #desired: Desired | undefined;
  #synced: Synced | undefined;
  #expected: Expected | undefined;
  #passError: string | undefined;
  #reasons: readonly string[] = ['it was not looked at yet'];

  constructor(context: NetworkContext) {
    const {conf, overlay, host, runDir} = context;
    this.name = conf.name;
    this.#context = context;
    this.#log = networkLog(context.log, conf.name);
    const log = this.#log;
    this.#membership = createMembership(conf.membership, {
      nodeId: context.node,
      network: {name: conf.name, form: conf.form},
      log,
      previousSubnets: readPublishedSubnets(conf.subnetFile),
    });
    this.#loop = new ReconcileLoop({
      run: (wakes) => this.#pass(wakes),
      onError: (error) => this.#failPass(error),
      debounceMs: overlay.debounceMs,
      maxDelayMs: overlay.maxDelayMs,
      intervalMs: overlay.resyncMs,
    });
    this.#underlay = new UnderlayFollower(conf.underlay, log);
    const guard = {graceMs: overlay.massDeleteGraceMs, lingerMs: overlay.removalDelayMs};
    this.#peers = new PeerKeeper({membership: this.#membership, loop: this.#loop, log, guard});
    this.#failures = new Backoff({firstMs: overlay.backoffMs, mostMs: overlay.backoffMaxMs});
    this.#datapath = new Datapath(() => host, this.#failures, context.quietly);
    this.#encryption = new Encryption(host, conf);
    this.#firewall = new Firewall(host, conf, context.neighbours);
    const places = {name: conf.name, subnetFile: conf.subnetFile, runDir};
    this.#publication = new Publication(places, {log, startGraceMs: overlay.startGraceMs});
    this.#reporter = new Reporter(conf.name, {log, metrics: context.metrics});
    const onChange = () => this.#loop.wake('delta');
    this.#endpoints =
      conf.form === 'l2'
        ? new EndpointWatch(endpointDirectory(conf.name, runDir), {log, onChange})
        : undefined;
    this.#planner = new NetworkPlanner({
      ...{node: context.node, conf, host, membership: this.#membership},
      ...{peers: this.#peers, encryption: this.#encryption, endpoints: this.#endpoints},
    });
  }

  start(): void {
    this.#membership.start({
      onSnapshot: (snapshot) => {
        const before = this.#snapshot?.network;
        this.#snapshot = internMembers(snapshot, this.#snapshot);
        this.#newsAt ??= performance.now();
        this.#loop.wake('delta');
        if (!before || !sameNetwork(before, snapshot.network)) this.#context.onNetwork();
      },
      onState: (state) => {
        this.#reporter.membershipIs(state);
        this.#loop.wake('delta');
      },
    });
    this.#loop.wake('reload');
  }

  /** Leaves the kernel, the files and the record in the store as they are. */
  async stop(): Promise<void> {
    this.#peers.close();
    this.#endpoints?.close();
    await this.#loop.stop();
    this.#encryption.close();
    await this.#membership.close();
  }

  async reconcile(): Promise<void> {
    await this.#loop.runNow('request');
  }

  /** Files of the membership may have changed. */
  reload(): void {
    this.#encryption.reload();
    this.#membership.reload();
    this.#loop.wake('reload');
  }

  /** What all hosts agree on, once it is known. */
  get network(): OverlayNetwork | undefined {
    return this.#snapshot?.network;
  }

  notReady(): readonly string[] {
    return this.#reasons.map((reason) => `network ${this.name}: ${reason}`);
  }

  onLink(link: Changed): void {
    if (this.#underlay.isOfLink(link)) this.#loop.wake('underlay');
    const isNamed = this.#desired?.devices.some(
      ({name, bridge}) => name === link.name || bridge === link.name,
    );
    if (isNamed || this.#isOwn(link.ifindex) || this.#encryption.isOwn(link.name)) this.#loop.wake('kernel');
  }

  onAddress(ifindex: number): void {
    if (this.#underlay.isOfAddresses(ifindex)) this.#loop.wake('underlay');
    if (this.#isOwn(ifindex)) this.#loop.wake('kernel');
  }

  onEntry(reply: Parameters<KernelListener['onEntry']>[0]): void {
    if (!this.#desired || !this.#synced) return;
    this.#expected ??= new Expected(this.#desired, this.#synced.devices);
    if (this.#expected.judge(reply) === 'contradiction') this.#loop.wake('kernel');
  }

  onDefaultRoute(): void {
    if (this.#underlay.isByRoute) this.#loop.wake('underlay');
  }

  onFirewall(table: string): void {
    if (this.#firewall.isOwn(table)) this.#loop.wake('firewall');
  }

  onLost(): void {
    this.#loop.wake('underlay');
  }

  /** Another network of this host came, went or changed. */
  onNeighbours(): void {
    this.#loop.wake('firewall');
  }

  status() {
    const {kind: source, state} = this.#membership;
    return describeNetwork({
      name: this.name,
      form: this.#context.conf.form,
      reasons: this.#reasons,
      membership: {source, ...state},
      snapshot: this.#snapshot,
      underlay: this.#underlay.underlay,
      desired: this.#desired,
      devices: this.#synced?.devices ?? new Map(),
      failures: this.#failures,
      failed: this.#synced?.failed ?? [],
      obstacles: this.#synced?.obstacles ?? [],
      held: this.#peers.held,
      generation: this.#loop.generation,
      mtu: this.#publication.published?.mtu,
      subnetFile: this.#context.conf.subnetFile,
    });
  }

  #isOwn(ifindex: number): boolean {
    return new Set(this.#synced?.devices.values()).has(ifindex);
  }

  async #pass(wakes: ReadonlySet<Wake>): Promise<void> {
    const began = performance.now();
    const rivalry = this.#snapshot && findRivalry(this.#snapshot.network, this.#context.elders());
    if (rivalry !== undefined) return this.#standBack(rivalry);
    const only = (...some: Wake[]) => [...wakes].every((wake) => some.includes(wake));
    const isKnown = this.#underlay.underlay !== undefined && this.#synced !== undefined;
    const kind =
      isKnown && only('firewall') ? 'firewall' : isKnown && only('delta', 'firewall') ? 'delta' : 'full';
    const newsAt = kind === 'firewall' ? undefined : this.#newsAt;
    if (kind !== 'firewall') this.#newsAt = undefined;
    if (kind === 'full')
      await this.#underlay.look(this.#context.host.rt, this.#snapshot?.wantedUnderlay?.[0]);
    const desired = kind === 'firewall' ? this.#desired : await this.#planDesired(kind);
    if (desired && kind !== 'firewall') await this.#syncKernel(desired, kind);
    if (desired)
      this.#reporter.firewall(
        await this.#firewall.ensure(desired, this.#encryption.through),
        await this.#firewall.countDrops(),
      );
    if (this.#firewall.error !== undefined) this.#loop.retryIn(firewallRetryMs);
    this.#failures.succeed('pass');
    this.#passError = undefined;
    this.#publish();
    this.#reporter.passed({began, newsAt: desired && newsAt, kind});
  }

  /** Touches nothing, because it is another network's; who comes and goes wakes the loop again. */
  #standBack(reason: string): void {
    this.#desired = this.#synced = this.#expected = undefined;
    this.#passError = reason;
    this.#publish();
  }

  async #syncKernel(desired: Desired, kind: 'delta' | 'full'): Promise<void> {
    const delta = this.#desired && findDelta(this.#desired, desired);
    const isSame = delta !== undefined && delta.before.length + delta.after.length === 0;
    const isFirst = this.#synced === undefined;
    // From here on what is heard is compared with this.
    this.#desired = desired;
    if (kind === 'delta' && delta) this.#expected?.update(delta);
    else this.#expected = undefined;
    ensurePathMtu(this.#context);
    await this.#encryption.ensure();
    const quick = kind === 'delta' ? await this.#datapath.syncDelta(desired) : undefined;
    this.#synced = quick ?? (await this.#datapath.syncAll(desired));
    if (!quick) this.#expected = undefined;
    if (!quick) await this.#encryption.settle();
    this.#reporter.synced(this.#synced, {isFirst, isSame, desired});
    const retryMs = this.#failures.nextInMs();
    if (retryMs !== undefined) this.#loop.retryIn(retryMs);
    if (this.#synced.deviceErrors.length > 0) this.#loop.retryIn(this.#context.overlay.backoffMs * 5);
  }

  #failPass(error: unknown): void {
    this.#passError = describeFailure(error);
    this.#log.error({error}, 'the overlay could not be brought in order');
    this.#failures.fail('pass', this.#passError);
    this.#loop.retryIn(this.#failures.nextInMs() ?? this.#context.overlay.backoffMs);
    this.#publish();
  }

  /** What the kernel shall have; `undefined` while too little is known. */
  async #planDesired(kind: 'delta' | 'full'): Promise<Desired | undefined> {
    const {underlay} = this.#underlay;
    const snapshot = this.#snapshot;
    if (!snapshot || !underlay) return undefined;
    const self = this.#planner.planSelf(snapshot, underlay);
    if (self.subnets.length === 0) return undefined;
    this.#publication.withdrawOther(self.subnets);
    return this.#planner.plan({snapshot, underlay, self}, kind);
  }

  #publish(): void {
    this.#reasons = findReasons({
      membership: this.#membership.state,
      snapshot: this.#snapshot,
      underlayError: this.#underlay.error,
      desired: this.#desired,
      synced: this.#synced,
      firewallError: this.#firewall.error,
      passError: this.#passError,
    });
    const isReady = this.#reasons.length === 0;
    this.#publication.publish(this.#reasons, isReady ? this.#working() : undefined);
    this.#membership.setReady(isReady);
    this.#reporter.readiness(this.#reasons, {
      mtu: this.#publication.published?.mtu,
      held: this.#peers.held,
      state: this.#membership.state,
      revision: this.#snapshot?.revision,
      leaseLeftS: this.#membership.leaseLeftS,
    });
  }

  #working(): Working | undefined {
    const {conf} = this.#context;
    const self = this.#snapshot?.self;
    if (!this.#snapshot || !self || !this.#desired) return undefined;
    return {
      network: this.#snapshot.network,
      subnets: self.subnets,
      mtu: Math.min(...this.#desired.devices.map(({mtu}) => mtu)),
      // Where the agent cannot, the plugin has other means.
      masquerade: conf.masquerade && !this.#firewall.isMissing,
      bridge: this.#planner.bridge(this.#snapshot.network),
    };
  }
}
