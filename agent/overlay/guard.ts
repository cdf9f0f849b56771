import {formatIp} from '../../lib/ip/address.ts';
import {formatCidr} from '../../lib/ip/cidr.ts';
import type {Member} from '../../lib/overlay/member.ts';
import type {Snapshot} from '../membership/membership.ts';

/** What a snapshot counts for: as it is, or with the peers that it lost for so much longer. */
export type Verdict =
  | {readonly kind: 'take'; readonly peers: readonly Member[]}
  | {readonly kind: 'hold'; readonly peers: readonly Member[]; readonly lost: number; readonly forMs: number};

export interface GuardOptions {
  /** How long peers are kept that went with many others (60,000). */
  readonly graceMs?: number;
  /** This many peers may always go at once (3), */
  readonly fewest?: number;
  /** and this share of them (0.3). */
  readonly share?: number;
}

/**
 * Keeps an emptied or half-read source from taking the network down: a snapshot that lost many of the peers which were
 * there is taken for what it adds, and for what it lost only when the source, asked again, says the same, or
 * has said it for `graceMs`.
 */
export class MassDeleteGuard {
  readonly #options: Required<GuardOptions>;
  #taken: readonly Member[] = [];
  #heldSince: number | undefined;
  #confirmed: ReadonlySet<string> | undefined;

  constructor(options: GuardOptions = {}) {
    this.#options = {graceMs: 60_000, fewest: 3, share: 0.3, ...options};
  }

  /** What the source said when it was asked again: who is not in it either is gone. */
  confirm({peers}: Snapshot): void {
    this.#confirmed = new Set(peers.map(({id}) => id));
  }

  /** Judges the newest snapshot. */
  judge({peers}: Snapshot, now = performance.now()): Verdict {
    const ids = new Set(peers.map(({id}) => id));
    const lost = this.#taken.filter(({id}) => !ids.has(id));
    const {graceMs, fewest, share} = this.#options;
    const isMany = lost.length > Math.max(fewest, share * this.#taken.length);
    const isConfirmed = this.#confirmed !== undefined && lost.every(({id}) => !this.#confirmed!.has(id));
    if (isMany && !isConfirmed) {
      this.#heldSince ??= now;
      const forMs = this.#heldSince + graceMs - now;
      if (forMs > 0) {
        // One that came back under another name has the place of the old one.
        const claimed = new Set(peers.flatMap(claimsOf));
        const kept = lost.filter((peer) => !claimsOf(peer).some((claim) => claimed.has(claim)));
        const all = [...peers, ...kept];
        // What is new has to be missed as well.
        this.#taken = all;
        return {kind: 'hold', peers: all, lost: lost.length, forMs};
      }
    }
    this.#taken = peers;
    this.#heldSince = undefined;
    this.#confirmed = undefined;
    return {kind: 'take', peers};
  }
}

function claimsOf({underlay, subnets, macs}: Member): string[] {
  return [
    ...underlay.map(formatIp),
    ...subnets.map(formatCidr),
    ...Object.values(macs).filter((mac) => mac !== undefined),
  ];
}
