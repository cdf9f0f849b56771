import type {Logger} from '../../lib/log.ts';
import type {Member} from '../../lib/overlay/member.ts';
import type {Membership, Snapshot} from '../membership/membership.ts';
import {MassDeleteGuard, type GuardOptions} from './guard.ts';
import type {ReconcileLoop} from './loop.ts';

/** Decides which peers count: those of the snapshot, and some that it has lost. */
export class PeerKeeper {
  readonly #guard: MassDeleteGuard;
  readonly #membership: Membership;
  readonly #loop: Pick<ReconcileLoop, 'wake' | 'retryIn'>;
  readonly #log: Logger;
  #held = 0;
  #asking: NodeJS.Timeout | undefined;

  constructor({
    membership,
    loop,
    log,
    guard,
  }: {
    readonly membership: Membership;
    readonly loop: Pick<ReconcileLoop, 'wake' | 'retryIn'>;
    readonly log: Logger;
    readonly guard: GuardOptions;
  }) {
    this.#guard = new MassDeleteGuard(guard);
    this.#membership = membership;
    this.#loop = loop;
    this.#log = log;
  }

  /** Peers that are kept because so many are gone. */
  get held(): number {
    return this.#held;
  }

  judge(snapshot: Snapshot): readonly Member[] {
    const {peers, forMs, ...verdict} = this.#guard.judge(snapshot);
    this.#held = verdict.kind === 'hold' ? verdict.lost : 0;
    if (forMs !== undefined) this.#loop.retryIn(forMs + 1);
    if (verdict.kind === 'hold' && forMs !== undefined) this.#askAgain(forMs, verdict.lost);
    return peers;
  }

  close(): void {
    clearTimeout(this.#asking);
  }

  /** After a while, because a source that was emptied fills again when the hosts notice. */
  #askAgain(forMs: number, lost: number): void {
    if (this.#asking) return;
    this.#log.warn({lost}, 'many hosts are gone at once; they are kept for a while');
    this.#asking = setTimeout(() => {
      void this.#membership
        .relist()
        .then((snapshot) => snapshot && this.#guard.confirm(snapshot))
        .catch((error: unknown) => this.#log.warn({error}, 'the membership cannot be asked again'))
        .finally(() => {
          this.#asking = undefined;
          this.#loop.wake('delta');
        });
    }, forMs / 4);
  }
}
