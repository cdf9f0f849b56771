import {formatIp} from '../../lib/ip/address.ts';
import {formatCidr} from '../../lib/ip/cidr.ts';
import type {Member} from '../../lib/overlay/member.ts';
import type {Snapshot} from '../membership/membership.ts';

/**
 * What a snapshot counts for: `peers` are its own and those that it lost but that are kept for `forMs` more; then it is to be
 * judged again. `hold`: because they are many.
 */
export type Verdict =
  | {readonly kind: 'take'; readonly peers: readonly Member[]; readonly forMs: number | undefined}
  | {readonly kind: 'hold'; readonly peers: readonly Member[]; readonly lost: number; readonly forMs: number};

export interface GuardOptions {
  /** How long peers are kept that went with many others (60,000). */
  readonly graceMs?: number;
  /** How long one is kept that went alone (1000): a record that is taken anew is gone for a moment. */
  readonly lingerMs?: number;
  /** This many peers may always go at once (3), */
  readonly fewest?: number;
  /** and this share of them (0.3). */
  readonly share?: number;
}

/**
 * Keeps an emptied or half-read source from taking the network down: a snapshot that lost many of the peers which were
 * there (or all of them, or any after it has lost its data) is taken for what it adds, and for what it lost only when the source, asked again, says the same, or
 * has said it for `graceMs`.
 */
export class MassDeleteGuard {
  readonly #options: Required<GuardOptions>;
  #taken: readonly Member[] = [];
  #lostSince: ReadonlyMap<string, number> = new Map();
  #heldSince: number | undefined;
  /** The source's state went backwards: whatever is missing may be about to come back. */
  #isReset = false;
  #revision = 0;
  #confirmed: ReadonlySet<string> | undefined;

  constructor(options: GuardOptions = {}) {
    this.#options = {graceMs: 60_000, lingerMs: 1000, fewest: 3, share: 0.3, ...options};
  }

  /** What the source said when it was asked again: who is not in it either is gone. */
  confirm({peers}: Snapshot): void {
    this.#confirmed = new Set(peers.map(({id}) => id));
  }

  /** Judges the newest snapshot. */
  judge({peers, revision}: Snapshot, now = performance.now()): Verdict {
    // Others than etcd's and Kubernetes' are no numbers but hashes.
    const number = /^\d{1,15}$/.test(revision) ? Number(revision) : 0;
    if (number < this.#revision) this.#isReset = true;
    this.#revision = number;
    const ids = new Set(peers.map(({id}) => id));
    const lost = this.#taken.filter(({id}) => !ids.has(id));
    const {graceMs, fewest, share} = this.#options;
    const isMany =
      lost.length > Math.max(fewest, share * this.#taken.length) ||
      (lost.length > 0 && (peers.length === 0 || this.#isReset));
    const isConfirmed = this.#confirmed !== undefined && lost.every(({id}) => !this.#confirmed!.has(id));
    // One that came back under another name has the place of the old one.
    const claimed = lost.length === 0 ? new Set() : new Set(peers.flatMap(claimsOf));
    const mayStay = lost.filter((peer) => !claimsOf(peer).some((claim) => claimed.has(claim)));
    if (isMany && !isConfirmed) {
      this.#heldSince ??= now;
      const forMs = this.#heldSince + graceMs - now;
      if (forMs > 0) {
        this.#taken = [...peers, ...mayStay];
        return {kind: 'hold', peers: this.#taken, lost: lost.length, forMs};
      }
    }
    this.#heldSince = undefined;
    this.#confirmed = undefined;
    this.#isReset = false;
    // After a long wait nobody needs another one.
    return this.#linger(peers, isMany ? [] : mayStay, now);
  }

  #linger(peers: readonly Member[], lost: readonly Member[], now: number): Verdict {
    const since = new Map(lost.map(({id}) => [id, this.#lostSince.get(id) ?? now]));
    const leftMs = (id: string) => since.get(id)! + this.#options.lingerMs - now;
    const kept = lost.filter(({id}) => leftMs(id) > 0);
    this.#lostSince = since;
    this.#taken = kept.length === 0 ? peers : [...peers, ...kept];
    const forMs = kept.length === 0 ? undefined : Math.min(...kept.map(({id}) => leftMs(id)));
    return {kind: 'take', peers: this.#taken, forMs};
  }
}

function claimsOf({underlay, subnets, macs}: Member): string[] {
  return [
    ...underlay.map(formatIp),
    ...subnets.map(formatCidr),
    ...Object.values(macs).filter((mac) => mac !== undefined),
  ];
}
