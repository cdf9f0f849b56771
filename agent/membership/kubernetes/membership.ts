import {containsIp, formatCidr, sameCidr, type Cidr} from '../../../lib/ip/cidr.ts';
import type {Member, OverlayNetwork} from '../../../lib/overlay/member.ts';
import {pauseMs, type Pace} from '../../outbound/backoff.ts';
import type {
  Advertisement,
  Membership,
  MembershipContext,
  MembershipEvents,
  Snapshot,
} from '../membership.ts';
import {Outage} from '../outage.ts';
import {Publisher} from '../publisher.ts';
import {findAccess} from './access.ts';
import {ApiError, KubeApi} from './api.ts';
import {networkOf, type KubernetesConf} from './conf.ts';
import {
  annotationsOf,
  conditionOf,
  memberOf,
  subnetsOf,
  wantedUnderlayOf,
  type ApiNode,
  type KubeNode,
} from './node.ts';
import {NodeStore} from './node-store.ts';

/**
 * Members of a network as Nodes of Kubernetes, with flannel's annotations: hosts that run flannel and hosts that run this
 * see each other. A node's subnets are its podCIDRs. Throws an Error for a configuration that cannot work.
 */
export function createKubernetesMembership(conf: KubernetesConf, context: MembershipContext): Membership {
  return new KubernetesMembership(conf, context);
}

class KubernetesMembership implements Membership {
  readonly kind = 'kubernetes';
  readonly #conf: KubernetesConf;
  readonly #context: MembershipContext;
  readonly #name: string;
  readonly #network: OverlayNetwork;
  readonly #pace: Pace;
  readonly #publisher = new Publisher();
  readonly #api: KubeApi;
  readonly #store: NodeStore;
  readonly #outage: Outage;
  readonly #members = new WeakMap<KubeNode, Member | undefined>();
  #self: Advertisement | undefined;
  /** Our subnets: those the node had when we began, for as long as we run. */
  #subnets: readonly Cidr[] | undefined;
  #published: {readonly self: Advertisement | undefined; readonly own: KubeNode | undefined} | undefined;
  #isReady = false;
  #wasReady = false;
  #patching: Promise<void> | undefined;
  #again = false;
  #failures = 0;
  #retry: NodeJS.Timeout | undefined;
  #publishing: NodeJS.Immediate | undefined;
  #isClosed = false;
  #isWritten = false;
  #writeFault: string | undefined;

  constructor(conf: KubernetesConf, context: MembershipContext) {
    this.#conf = conf;
    this.#context = context;
    this.#name = conf.node ?? process.env['WEFT_NODE_NAME'] ?? context.nodeId;
    this.#network = networkOf(conf, context.network);
    this.#pace = {firstMs: conf.retryMs, mostMs: conf.retryMaxMs};
    this.#api = new KubeApi({access: findAccess(conf), requestTimeoutMs: conf.requestTimeoutMs});
    this.#outage = new Outage({
      afterMs: conf.staleAfterMs,
      log: context.log,
      source: 'Kubernetes',
      onChange: () => this.#enterState(),
    });
    this.#store = new NodeStore({
      ...conf,
      api: this.#api,
      log: context.log,
      retry: this.#pace,
      onChange: () => this.#changed(),
      onFault: (error) => this.#outage.begin(error),
      onHealthy: () => {
        if (this.#outage.end()) this.#write();
      },
    });
  }

  get state() {
    return this.#publisher.state;
  }

  start(events: MembershipEvents): void {
    this.#publisher.open(events);
    this.#publisher.enter({kind: 'starting', reason: 'Kubernetes: no list of nodes yet'});
    this.#store.start();
  }

  advertise(self: Advertisement): void {
    this.#self = self;
    this.#write();
    this.#publish();
  }

  setReady(ready: boolean): void {
    this.#isReady = ready;
    this.#wasReady ||= ready;
    this.#write();
  }

  reload(): void {
    this.#api.refresh();
    this.#write();
  }

  async relist(): Promise<Snapshot | undefined> {
    try {
      await this.#store.relist(this.#conf.requestTimeoutMs * 2);
    } catch (error) {
      this.#context.log.warn({error}, 'nodes could not be listed again');
      return undefined;
    }
    this.#publish();
    return this.#publisher.snapshot;
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    this.#publisher.close();
    this.#outage.close();
    clearTimeout(this.#retry);
    clearImmediate(this.#publishing);
    this.#api.close();
    await Promise.all([this.#store.close(), this.#patching]);
  }

  #changed(): void {
    this.#publishing ??= setImmediate(() => this.#publish());
    this.#write();
  }

  /** Our subnets, checked. Throws an Error that says what is missing. */
  #ownSubnets(node: KubeNode | undefined): readonly Cidr[] {
    const name = this.#name;
    if (node === undefined)
      throw new Error(
        `there is no node ${name}; set membership.node, overlay.node or WEFT_NODE_NAME to the Node's name`,
      );
    const subnets = subnetsOf(node);
    if (subnets.length === 0)
      throw new Error(
        `node ${name} has no podCIDR; run kube-controller-manager with --allocate-node-cidrs and --cluster-cidr`,
      );
    const {ranges} = this.#network;
    for (const subnet of subnets)
      if (!ranges.some((range) => containsIp(range, subnet.ip) && subnet.prefix >= range.prefix))
        throw new Error(
          `node ${name}: podCIDR ${formatCidr(subnet)} is outside the network ${ranges.map(formatCidr).join(', ')}; ` +
            'make network (or net-conf.json) and --cluster-cidr one',
        );
    return subnets;
  }

  /** What is wrong with our own node, if anything; a node that was made anew may have other subnets. */
  #judgeOwn(): {readonly kind: 'conflict' | 'error'; readonly reason: string} | undefined {
    let subnets: readonly Cidr[];
    try {
      subnets = this.#ownSubnets(this.#store.nodes.get(this.#name));
    } catch (error) {
      return {kind: 'error', reason: (error as Error).message};
    }
    this.#subnets ??= subnets;
    const own = this.#subnets;
    if (own.length === subnets.length && own.every((one) => subnets.some((two) => sameCidr(one, two))))
      return undefined;
    const [before, now] = [own, subnets].map((list) => list.map(formatCidr).join(', '));
    return {
      kind: 'conflict',
      reason: `node ${this.#name} has podCIDR ${now} now, but ${before} when the agent began; drain it and start the agent again`,
    };
  }

  #publish(): void {
    clearImmediate(this.#publishing);
    this.#publishing = undefined;
    if (this.#isClosed || !this.#store.isListed) return this.#enterState();
    // Finds our subnets, too.
    this.#judgeOwn();
    const own = this.#store.nodes.get(this.#name);
    const peers = this.#listPeers();
    const last = this.#publisher.snapshot;
    const isSame =
      last?.peers.length === peers.length &&
      last.peers.every((peer, i) => peer === peers[i]) &&
      this.#published?.self === this.#self &&
      this.#published?.own === own;
    if (!isSame) {
      this.#published = {self: this.#self, own};
      const self = this.#self &&
        this.#subnets && {...this.#self, id: this.#name, subnets: this.#subnets, seniority: 0};
      const wantedUnderlay = own && wantedUnderlayOf(own);
      this.#publisher.publish({
        network: this.#network,
        self,
        peers,
        revision: this.#store.revision,
        ...(wantedUnderlay && {wantedUnderlay}),
      });
    }
    this.#enterState();
  }

  #listPeers(): readonly Member[] {
    const peers: Member[] = [];
    for (const [name, node] of this.#store.nodes) {
      if (name === this.#name) continue;
      if (!this.#members.has(node)) this.#members.set(node, memberOf(node));
      const member = this.#members.get(node);
      if (member !== undefined) peers.push(member);
    }
    return peers;
  }

  /** Makes our node say what it should, one request at a time; what comes meanwhile leads to another. */
  #write(): void {
    if (this.#isClosed || this.#self === undefined || !this.#store.isListed) return;
    if (this.#patching !== undefined) {
      this.#again = true;
      return;
    }
    clearTimeout(this.#retry);
    this.#again = false;
    this.#patching = this.#patch(this.#self).finally(() => {
      this.#patching = undefined;
      this.#enterState();
      if (this.#again) this.#write();
    });
  }

  async #patch(self: Advertisement): Promise<void> {
    const node = this.#store.nodes.get(this.#name);
    // There is nothing to say as long as the node is not what it should be.
    if (node === undefined || this.#judgeOwn() !== undefined) return;
    const {annotationPrefix: prefix} = this.#conf;
    const annotations = annotationsOf(self, {node, vni: this.#network.vni, prefix});
    const condition = this.#conditionFor(node);
    try {
      if (Object.keys(annotations).length > 0 || condition !== undefined) {
        const change = {
          metadata: {annotations},
          ...(condition && {status: {conditions: [condition]}}),
        };
        const path = `/api/v1/nodes/${encodeURIComponent(this.#name)}/status`;
        this.#store.learn((await this.#api.patch(path, change)) as ApiNode);
        this.#context.log.info({annotations, condition}, 'node written');
      }
      this.#failures = 0;
      this.#writeFault = undefined;
      this.#isWritten = true;
      this.#publishing ??= setImmediate(() => this.#publish());
    } catch (error) {
      if (this.#isClosed) return;
      const {message} = error as Error;
      const reason =
        error instanceof ApiError && error.status === 403
          ? `${message}; the agent's account needs patch on nodes/status (conf/kubernetes/weft-agent.yaml)`
          : message;
      if (reason !== this.#writeFault) this.#context.log.error({error}, 'node could not be written');
      this.#writeFault = reason;
      const asked = error instanceof ApiError ? error.retryAfterMs : 0;
      this.#retry = setTimeout(() => this.#write(), Math.max(asked, pauseMs(this.#failures++, this.#pace)));
    }
  }

  /** Said once the overlay works; taken back only by who said it. */
  #conditionFor({networkUnavailable}: KubeNode): object | undefined {
    if (!this.#conf.setCondition || (!this.#isReady && !this.#wasReady)) return undefined;
    const wanted = this.#isReady ? 'False' : 'True';
    return networkUnavailable === wanted ? undefined : conditionOf(this.#isReady, new Date().toISOString());
  }

  #enterState(): void {
    if (this.#isClosed) return;
    const publisher = this.#publisher;
    const {reason: outage} = this.#outage;
    if (publisher.snapshot === undefined)
      return publisher.enter({kind: 'starting', reason: `Kubernetes: ${outage ?? 'no list of nodes yet'}`});
    const own = this.#judgeOwn();
    if (own?.kind === 'conflict') return publisher.enter({kind: 'conflict', reason: own.reason});
    if (!this.#isWritten) {
      const reason = outage ?? own?.reason ?? this.#writeFault ?? 'own node is not written yet';
      return publisher.enter({kind: 'starting', reason: `Kubernetes: ${reason}`});
    }
    if (this.#outage.isLong)
      return publisher.enter({kind: 'stale', reason: `Kubernetes: ${outage}; the last known nodes stand`});
    if (outage !== undefined) return;
    const fault = own?.reason ?? this.#writeFault;
    publisher.enter(fault === undefined ? {kind: 'ready'} : {kind: 'stale', reason: `Kubernetes: ${fault}`});
  }
}
