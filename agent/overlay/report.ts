import type {Desired} from '../../lib/overlay/state.ts';
import {formatConflict} from '../../lib/overlay/claims.ts';
import type {Logger} from '../../lib/log.ts';
import type {MembershipState} from '../membership/membership.ts';
import type {Synced} from './datapath.ts';
import type {OverlayMetrics} from './metrics.ts';

/** What a pass was. */
export interface PassFacts {
  /** On the clock of `performance.now`, as `newsAt`. */
  readonly began: number;
  /** When the change came that the pass applied. */
  readonly newsAt: number | undefined;
  readonly kind: 'full' | 'delta' | 'firewall';
}

/** Says in figures and in the log how a network is. */
export class Reporter {
  readonly #network: string;
  readonly #log: Logger;
  readonly #metrics: OverlayMetrics;
  #conflicts = '';
  #hasRules = false;
  #reasons = 'none yet';
  #errors: ReadonlyMap<string, string> = new Map();
  #heardAt = performance.now();

  constructor(network: string, {log, metrics}: {readonly log: Logger; readonly metrics: OverlayMetrics}) {
    this.#network = network;
    this.#log = log;
    this.#metrics = metrics;
  }

  membershipIs({kind, reason}: MembershipState): void {
    const facts = {state: kind, reason};
    if (kind === 'ready') this.#log.info(facts, 'membership');
    else this.#log.warn(facts, 'membership');
    this.#metrics.conflict.set({network: this.#network}, kind === 'conflict' ? 1 : 0);
  }

  /** `isSame`: nothing new was desired, so what there was to do had been changed by others. */
  synced(
    synced: Synced,
    {
      isFirst,
      isSame,
      desired,
    }: {readonly isFirst: boolean; readonly isSame: boolean; readonly desired: Desired},
  ): void {
    const {network} = {network: this.#network};
    const metrics = this.#metrics;
    const {operations, failed, deviceChanges, deviceErrors} = synced;
    const failures = new Set(failed.map(({operation}) => operation));
    for (const operation of operations) {
      const {kind, action} = operation;
      const result = failures.has(operation) ? 'failed' : 'done';
      metrics.ops.inc({network, kind, op: action, result});
      if (isFirst && action === 'remove') metrics.staleRemoved.inc({network, kind});
      else if (isSame && !isFirst) metrics.driftRepaired.inc({network, kind});
    }
    for (const change of deviceChanges) {
      metrics.ops.inc({network, kind: 'device', op: 'set', result: 'done'});
      if (isSame && !isFirst) metrics.driftRepaired.inc({network, kind: 'device'});
      this.#log.info({change}, 'device');
    }
    if (deviceErrors.length > 0)
      metrics.ops.inc({network, kind: 'device', op: 'set', result: 'failed'}, deviceErrors.length);
    if (operations.length > failed.length)
      this.#log.info(
        {operations: operations.length, failed: failed.length, pass: synced.kind},
        'kernel changed',
      );
    // What is tried again and again is told once.
    const errors = new Map(failed.map(({operation, error}) => [operation.peer ?? '', error]));
    const news = [...errors].filter(([peer, error]) => this.#errors.get(peer) !== error);
    for (const [peer, error] of news.slice(0, 20)) this.#log.warn({peer, error}, 'refused');
    this.#errors = errors;
    this.#countPeers(synced, desired);
    this.#tellConflicts(desired);
  }

  passed({began, newsAt, kind}: PassFacts): void {
    const network = this.#network;
    const now = performance.now();
    this.#metrics.reconcileSeconds.observe({network}, (now - began) / 1000);
    this.#metrics.passes.inc({network, kind});
    if (newsAt !== undefined) this.#metrics.convergenceSeconds.observe({network}, (now - newsAt) / 1000);
  }

  readiness(
    reasons: readonly string[],
    {
      mtu,
      held,
      state,
      revision,
      leaseLeftS,
    }: {
      readonly mtu: number | undefined;
      readonly held: number;
      readonly state: MembershipState;
      readonly revision: string | undefined;
      readonly leaseLeftS: number | undefined;
    },
  ): void {
    const network = this.#network;
    this.#metrics.ready.set({network}, reasons.length === 0 ? 1 : 0);
    this.#metrics.held.set({network}, held);
    if (mtu !== undefined) this.#metrics.mtu.set({network}, mtu);
    if (leaseLeftS !== undefined) this.#metrics.leaseRemaining.set({network}, leaseLeftS);
    const number = Number(revision);
    if (Number.isSafeInteger(number)) this.#metrics.revision.set({network}, number);
    const now = performance.now();
    if (state.kind === 'ready') this.#heardAt = now;
    this.#metrics.age.set({network}, (now - this.#heardAt) / 1000);
    const text = reasons.join('; ');
    if (text === this.#reasons) return;
    this.#reasons = text;
    if (text === '') this.#log.info('ready');
    else this.#log.warn({reasons}, 'not ready');
  }

  /** What was done to nftables, and how many packets of strangers it has dropped. */
  firewall(did: 'nothing' | 'members' | 'all', drops: number): void {
    const network = this.#network;
    this.#metrics.filterDrops.set({network}, drops);
    if (did === 'nothing') return;
    this.#metrics.ops.inc({network, kind: 'nft', op: 'set', result: 'done'});
    if (did === 'members') return;
    if (this.#hasRules) this.#metrics.driftRepaired.inc({network, kind: 'nft'});
    this.#hasRules = true;
    this.#log.info('nftables written');
  }

  #countPeers({failed}: Synced, {peers, conflicts}: Desired): void {
    const network = this.#network;
    const failedPeers = new Set(failed.map(({peer}) => peer).filter((peer) => peer !== undefined)).size;
    this.#metrics.peers.set({network, state: 'desired'}, peers.length);
    this.#metrics.peers.set({network, state: 'failed'}, failedPeers);
    this.#metrics.peers.set({network, state: 'programmed'}, peers.length - failedPeers);
    const kinds = ['mac', 'underlay', 'subnet', 'outside', 'endpoint', 'unreachable'] as const;
    for (const kind of kinds)
      this.#metrics.duplicates.set({network, kind}, conflicts.filter((each) => each.kind === kind).length);
  }

  #tellConflicts({conflicts}: Desired): void {
    const text = conflicts.map(formatConflict).join('\n');
    if (text === this.#conflicts) return;
    this.#conflicts = text;
    for (const conflict of conflicts.slice(0, 20))
      this.#log.error(`${formatConflict(conflict)}; it is left out`);
  }
}
