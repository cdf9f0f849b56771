import type {Host} from '../../lib/host.ts';
import {describeFailure} from '../../lib/cni/failure.ts';
import {familyOf, formatIp} from '../../lib/ip/address.ts';
import type {Logger} from '../../lib/log.ts';
import {endpointDirectory} from '../../lib/overlay/endpoint-file.ts';
import type {Member} from '../../lib/overlay/member.ts';
import {findDirect} from '../../lib/overlay/direct.ts';
import {segmentBridgeName} from '../../lib/overlay/segment-bridge.ts';
import {planDesired} from '../../lib/overlay/desired.ts';
import type {Desired} from '../../lib/overlay/state.ts';
import {deriveVtepMac} from '../../lib/overlay/vtep-mac.ts';
import {createMembership} from '../membership/conf.ts';
import type {Membership, MembershipState, Snapshot} from '../membership/membership.ts';
import {Backoff} from './backoff.ts';
import type {OverlayConf, OverlayNetworkConf} from './conf.ts';
import {Datapath, type Synced} from './datapath.ts';
import {findDelta} from './delta.ts';
import {EndpointWatch} from './endpoint-watch.ts';
import {Expected} from './expected.ts';
import {Firewall} from './firewall.ts';
import {MassDeleteGuard} from './guard.ts';
import type {KernelListener} from './kernel-watch.ts';
import {ReconcileLoop, type Wake} from './loop.ts';
import type {OverlayMetrics} from './metrics.ts';
import {
  publishState,
  publishSubnets,
  readPublishedSubnets,
  withdrawOtherSubnets,
  type Places,
  type Published,
} from './publish.ts';
import {Reporter} from './report.ts';
import {describeNetwork} from './status.ts';
import {sameUnderlay, type Underlay} from './underlay.ts';
import {findUnderlay} from './underlay-read.ts';

/** What one network is made with. */
export interface NetworkContext {
  readonly conf: OverlayNetworkConf;
  readonly overlay: OverlayConf;
  /** This host's name among the members. */
  readonly node: string;
  readonly host: Host;
  readonly log: Logger;
  readonly metrics: OverlayMetrics;
  /** Directory of the state files. */
  readonly runDir: string;
}

/** Keeps one overlay network's part of this host in step with its membership. */
export class OverlayNetworkAgent implements KernelListener {
  readonly name: string;
  readonly #context: NetworkContext;
  readonly #places: Places;
  readonly #membership: Membership;
  readonly #loop: ReconcileLoop;
  readonly #guard: MassDeleteGuard;
  readonly #failures: Backoff;
  readonly #datapath: Datapath;
  readonly #firewall: Firewall;
  readonly #reporter: Reporter;
  readonly #endpoints: EndpointWatch | undefined;
  readonly #startedAt = performance.now();
  #snapshot: Snapshot | undefined;
  /** When the first snapshot came that is not applied yet. */
  #newsAt: number | undefined;
  #heldPeers = 0;
  #confirming: NodeJS.Timeout | undefined;
  #underlay: Underlay | undefined;
  /** What was said last. */
  #advertised: string | undefined;
  /** Through which link peers are reached without a tunnel, by address. */
  #direct: ReadonlyMap<string, number> = new Map();
  #asked: ReadonlySet<string> = new Set();
  #underlayError: string | undefined;
  #desired: Desired | undefined;
  #synced: Synced | undefined;
  #passError: string | undefined;
  #expected: Expected | undefined;
  #published: Published | undefined;
  #reasons: readonly string[] = ['it was not looked at yet'];

  constructor(context: NetworkContext) {
    const {conf, overlay, host, log, runDir} = context;
    this.name = conf.name;
    this.#context = context;
    this.#places = {name: conf.name, subnetFile: conf.subnetFile, runDir};
    this.#membership = createMembership(conf.membership, {
      nodeId: context.node,
      network: {name: conf.name, form: conf.form},
      log,
      previousSubnets: readPublishedSubnets(conf.subnetFile),
    });
    this.#guard = new MassDeleteGuard({graceMs: overlay.massDeleteGraceMs});
    this.#failures = new Backoff({firstMs: overlay.backoffMs, mostMs: overlay.backoffMaxMs});
    this.#datapath = new Datapath(() => host, this.#failures);
    this.#firewall = new Firewall(host, conf);
    this.#reporter = new Reporter(conf.name, context);
    this.#loop = new ReconcileLoop({
      run: (wakes) => this.#pass(wakes),
      onError: (error) => this.#failPass(error),
      debounceMs: overlay.debounceMs,
      maxDelayMs: overlay.maxDelayMs,
      intervalMs: overlay.resyncMs,
    });
    this.#endpoints =
      conf.form === 'l2'
        ? new EndpointWatch(endpointDirectory(conf.name, runDir), {
            log,
            onChange: () => this.#loop.wake('delta'),
          })
        : undefined;
  }

  start(): void {
    this.#membership.start({
      onSnapshot: (snapshot) => {
        this.#snapshot = snapshot;
        this.#newsAt ??= performance.now();
        this.#loop.wake('delta');
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
    clearTimeout(this.#confirming);
    this.#endpoints?.close();
    await this.#loop.stop();
    await this.#membership.close();
  }

  async reconcile(): Promise<void> {
    await this.#loop.runNow('request');
  }

  /** Files of the membership may have changed. */
  reload(): void {
    this.#membership.reload();
    this.#loop.wake('reload');
  }

  notReady(): readonly string[] {
    return this.#reasons.map((reason) => `network ${this.name}: ${reason}`);
  }

  onLink({
    ifindex,
    name,
    isGone,
  }: {
    readonly ifindex: number;
    readonly name: string;
    readonly isGone: boolean;
  }): void {
    const {underlay, interface: chosen} = {underlay: this.#underlay, ...this.#context.conf.underlay};
    if (ifindex === underlay?.ifindex || name === chosen || (!underlay && !isGone))
      this.#loop.wake('underlay');
    const isOurs = this.#desired?.devices.some((device) => device.name === name || device.bridge === name);
    if (isOurs || [...(this.#synced?.devices.values() ?? [])].includes(ifindex)) this.#loop.wake('kernel');
  }

  onAddress(ifindex: number): void {
    if (!this.#underlay || ifindex === this.#underlay.ifindex || this.#context.conf.underlay.address)
      this.#loop.wake('underlay');
    if ([...(this.#synced?.devices.values() ?? [])].includes(ifindex)) this.#loop.wake('kernel');
  }

  onEntry(reply: Parameters<KernelListener['onEntry']>[0]): void {
    if (!this.#desired || !this.#synced) return;
    this.#expected ??= new Expected(this.#desired, this.#synced.devices);
    if (this.#expected.judge(reply) === 'contradiction') this.#loop.wake('kernel');
  }

  onDefaultRoute(): void {
    const {address, interface: name, interfacePattern} = this.#context.conf.underlay;
    if (!address && name === undefined && interfacePattern === undefined) this.#loop.wake('underlay');
  }

  onFirewall(table: string): void {
    if (this.#firewall.isOwn(table)) this.#loop.wake('firewall');
  }

  onLost(): void {
    this.#loop.wake('underlay');
  }

  status() {
    const {source, state} = {source: this.#membership.kind, state: this.#membership.state};
    return describeNetwork({
      name: this.name,
      form: this.#context.conf.form,
      reasons: this.#reasons,
      membership: {source, ...state},
      snapshot: this.#snapshot,
      underlay: this.#underlay,
      desired: this.#desired,
      devices: this.#synced?.devices ?? new Map(),
      failures: this.#failures,
      failed: this.#synced?.failed ?? [],
      obstacles: this.#synced?.obstacles ?? [],
      held: this.#heldPeers,
      generation: this.#loop.generation,
      mtu: this.#published?.mtu,
      subnetFile: this.#places.subnetFile,
    });
  }

  async #pass(wakes: ReadonlySet<Wake>): Promise<void> {
    const began = performance.now();
    const isDelta = [...wakes].every((wake) => wake === 'delta') && this.#underlay !== undefined;
    const newsAt = this.#newsAt;
    this.#newsAt = undefined;
    if (!isDelta) await this.#lookAtUnderlay();
    this.#advertise();
    const desired = await this.#planDesired({isDelta});
    if (desired) {
      const delta = this.#desired && findDelta(this.#desired, desired);
      const isSame = delta !== undefined && delta.before.length + delta.after.length === 0;
      this.#desired = desired;
      this.#ensureSettings();
      this.#expected = undefined;
      const synced =
        (isDelta ? await this.#datapath.syncDelta(desired) : undefined) ??
        (await this.#datapath.syncAll(desired));
      const isFirst = this.#synced === undefined;
      this.#synced = synced;
      this.#expected = undefined;
      await this.#firewall.ensure(desired, {isFull: synced.kind === 'full'});
      this.#reporter.synced(synced, {isFirst, isSame, desired});
      const retryMs = this.#failures.nextInMs();
      if (retryMs !== undefined) this.#loop.retryIn(retryMs);
      if (synced.deviceErrors.length > 0) this.#loop.retryIn(this.#context.overlay.backoffMs * 5);
    }
    this.#passError = undefined;
    this.#publish();
    this.#reporter.passed({began, newsAt: desired && newsAt, kind: isDelta ? 'delta' : 'full'});
  }

  #failPass(error: unknown): void {
    this.#passError = describeFailure(error);
    this.#context.log.error({error, network: this.name}, 'the overlay could not be brought in order');
    this.#failures.fail('pass', this.#passError);
    this.#loop.retryIn(this.#failures.nextInMs() ?? this.#context.overlay.backoffMs);
    this.#publish();
  }

  async #lookAtUnderlay(): Promise<void> {
    const {conf, host, log} = this.#context;
    const wanted = this.#snapshot?.wantedUnderlay?.[0];
    const choice = wanted
      ? {...conf.underlay, address: {ip: wanted, prefix: familyOf(wanted) === 4 ? 32 : 128}}
      : conf.underlay;
    const found = await findUnderlay(host.rt, choice, this.#underlay);
    if (typeof found === 'string') {
      if (this.#underlayError !== found) log.warn({network: this.name}, `underlay: ${found}`);
      // What is there goes on working, or comes back with the interface.
      this.#underlayError = found;
      return;
    }
    this.#underlayError = undefined;
    if (!sameUnderlay(this.#underlay, found))
      log.info({network: this.name, underlay: found.name, mtu: found.mtu}, 'underlay');
    this.#underlay = found;
  }

  /** Tells the membership what peers shall know; it keeps what it has heard already to itself. */
  #advertise(): void {
    const self = this.#self();
    if (!self) return;
    const {underlay, macs, mtu, endpoints} = self;
    const said = JSON.stringify([
      underlay.map(formatIp),
      macs,
      mtu,
      endpoints?.map(({ips, mac}) => [mac, ...ips.map(formatIp)]),
    ]);
    if (said === this.#advertised) return;
    this.#advertised = said;
    this.#membership.advertise({underlay, macs, mtu, ...(endpoints && {endpoints})});
  }

  /** Our own record as it shall be; its subnets as the membership says, none before that. */
  #self(): Member | undefined {
    const {conf, node} = this.#context;
    if (!this.#snapshot || !this.#underlay) return undefined;
    const {network, self} = this.#snapshot;
    const {publicAddresses} = conf.underlay;
    const named = publicAddresses.filter((ip) => ip !== undefined);
    const underlay = named.length > 0 ? named : this.#underlay.addresses;
    const macOf = (family: 4 | 6) => self?.macs[family] ?? deriveVtepMac({vni: network.vni, node, family});
    const macs = Object.fromEntries(underlay.map((ip) => [familyOf(ip), macOf(familyOf(ip))]));
    const member: Member = {
      id: node,
      subnets: self?.subnets ?? [],
      seniority: self?.seniority,
      underlay,
      macs,
      ...(this.#endpoints && {endpoints: this.#endpoints.read()}),
    };
    // The MTU follows from the devices, and those from the rest.
    const {devices} = planDesired({network, self: member, peers: []}, this.#settings());
    return {...member, mtu: Math.min(...devices.map(({mtu}) => mtu))};
  }

  #settings() {
    const {conf} = this.#context;
    const {ifindex, mtu, addresses} = this.#underlay!;
    return {
      carrier: {ifindex, mtu, addresses},
      ...(conf.mtu !== undefined && {mtu: conf.mtu}),
      ...(conf.form === 'l2' && {bridge: this.#bridge()}),
      direct: this.#direct,
    };
  }

  #bridge(): string {
    return this.#context.conf.bridge ?? segmentBridgeName(this.#snapshot?.network.vni ?? 0);
  }

  /** What the kernel shall have; `undefined` while too little is known. */
  async #planDesired({isDelta}: {readonly isDelta: boolean}): Promise<Desired | undefined> {
    const self = this.#self();
    if (!this.#snapshot || !self || self.subnets.length === 0) return undefined;
    const verdict = this.#guard.judge(this.#snapshot);
    this.#heldPeers = verdict.kind === 'hold' ? verdict.lost : 0;
    if (verdict.kind === 'hold') this.#askAgain(verdict.forMs, verdict.lost);
    const {network} = this.#snapshot;
    if (withdrawOtherSubnets(this.#places, self.subnets))
      this.#context.log.warn(
        {network: this.name},
        'this host has other subnets now; the subnet file was removed',
      );
    if (network.directRouting) await this.#lookForDirect(verdict.peers, {isDelta});
    return planDesired({network, self, peers: verdict.peers}, this.#settings());
  }

  async #lookForDirect(peers: readonly Member[], {isDelta}: {readonly isDelta: boolean}): Promise<void> {
    const addresses = peers.flatMap(({underlay}) => underlay);
    const isNew = !isDelta || addresses.some((ip) => !this.#asked.has(formatIp(ip)));
    if (!isNew) return;
    this.#direct = await findDirect(this.#context.host.rt, addresses);
    this.#asked = new Set(addresses.map(formatIp));
  }

  /** Forwarded packets learn of a narrower path only if the host lets them (`df` of the device is "inherit"). */
  #ensureSettings(): void {
    const {conf, host, log} = this.#context;
    if (!conf.pathMtu || conf.form === 'l2') return;
    try {
      host.sysctl.ensure('net/ipv4/ip_forward_use_pmtu', '1');
    } catch (error) {
      log.debug({error}, 'net.ipv4.ip_forward_use_pmtu cannot be set');
    }
  }

  /** After a while, because a source that was emptied fills again when the hosts notice. */
  #askAgain(forMs: number, lost: number): void {
    this.#loop.retryIn(forMs + 1);
    if (this.#confirming) return;
    this.#context.log.warn(
      {network: this.name, lost},
      'many hosts are gone at once; they are kept for a while',
    );
    this.#confirming = setTimeout(() => {
      void this.#membership
        .relist()
        .then((snapshot) => snapshot && this.#guard.confirm(snapshot))
        .catch((error: unknown) => this.#context.log.warn({error}, 'the membership cannot be asked again'))
        .finally(() => {
          this.#confirming = undefined;
          this.#loop.wake('delta');
        });
    }, forMs / 4);
  }

  #findReasons(): string[] {
    const {state} = this.#membership;
    const {deviceErrors = [], failed = []} = this.#synced ?? {};
    const self = this.#snapshot?.self;
    const failedPeers = new Set(failed.map(({peer}) => peer ?? ''));
    return [
      this.#underlayError && `underlay: ${this.#underlayError}`,
      !this.#snapshot && `nothing is known of its hosts yet${because(state)}`,
      this.#snapshot && !self && `this host has no subnet yet${because(state)}`,
      state.kind === 'conflict' && `conflict${because(state)}`,
      ...deviceErrors,
      failedPeers.size > 0 &&
        `${failedPeers.size} of ${this.#desired?.peers.length} peers could not be programmed: ${failed[0]?.error}`,
      this.#firewall.error,
      this.#passError,
      self && !this.#synced && 'the kernel was not looked at yet',
    ].filter((reason) => typeof reason === 'string');
  }

  #publish(): void {
    const {conf, log} = this.#context;
    this.#reasons = this.#findReasons();
    const isReady = this.#reasons.length === 0;
    if (isReady && this.#desired && this.#snapshot?.self) {
      const published: Published = {
        network: this.#snapshot.network,
        subnets: this.#snapshot.self.subnets,
        mtu: Math.min(...this.#desired.devices.map(({mtu}) => mtu)),
        masquerade: conf.masquerade,
        bridge: conf.form === 'l2' ? this.#bridge() : undefined,
      };
      this.#published = published;
      if (publishSubnets(this.#places, published))
        log.info({network: this.name, file: conf.subnetFile}, 'subnet file written');
    }
    this.#membership.setReady(isReady);
    this.#reporter.readiness(this.#reasons, {
      mtu: this.#published?.mtu,
      held: this.#heldPeers,
      state: this.#membership.state,
    });
    // An agent that takes over from another one has a moment to find out that all is well.
    if (
      !isReady &&
      !this.#synced &&
      performance.now() - this.#startedAt < this.#context.overlay.startGraceMs
    ) {
      this.#loop.retryIn(this.#context.overlay.startGraceMs);
      return;
    }
    publishState(this.#places, {reasons: this.#reasons, published: this.#published});
  }
}

function because({reason}: MembershipState): string {
  return reason === undefined ? '' : `: ${reason}`;
}
