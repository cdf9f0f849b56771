import type {EtcdClient} from '../../etcd/client.ts';
import type {Layout} from './layout.ts';
import type {KeptLease} from '../../etcd/lease.ts';
import type {Store} from '../../etcd/store.ts';
import type {Compare, KeyValue, Operation} from '../../etcd/wire.ts';

/** Somebody was faster: look again. */
export class LostRaceError extends Error {
  override readonly name = 'LostRaceError';
}

export interface WriterOptions {
  readonly client: EtcdClient;
  readonly store: Store;
  readonly layout: Layout;
  readonly lease: KeptLease;
  readonly aliveLease: KeptLease | undefined;
}

const catchUpMs = 2000;

/** Writes to etcd, always compared with what is to be replaced, and tells the store what came of it. */
export class Writer {
  readonly #options: WriterOptions;

  constructor(options: WriterOptions) {
    this.#options = options;
  }

  /**
   * One transaction. What it wrote is known at once; what stood in its way is read with it, so that the next attempt sees
   * it. Gives what the keys hold now. Throws LostRaceError.
   */
  async write(
    compare: readonly Compare[],
    operations: readonly Operation[],
  ): Promise<ReadonlyMap<string, KeyValue>> {
    const {client, store, layout} = this.#options;
    const looks = compare.map(({key}): Operation => ({range: key}));
    const {revision, succeeded, found} = await client
      .txn(compare, operations, looks)
      .catch((error: unknown) => this.#checkLeases(error));
    if (!succeeded) {
      for (const [i, {key}] of compare.entries())
        // Who bumped the guard wrote another key with it, which has to be known too.
        if (key === layout.guard) await store.catchUp(key, found[i]?.modRevision ?? 0, catchUpMs);
        else store.learn(key, found[i], revision);
      throw new LostRaceError(`${compare.map(({key}) => key).join(', ')}: changed by another`);
    }
    const written = new Map<string, KeyValue>();
    for (const operation of operations) {
      if ('remove' in operation) store.learn(operation.remove, undefined, revision);
      if (!('put' in operation)) continue;
      const {put: key, value, lease} = operation;
      const createRevision = store.entries.get(key)?.createRevision ?? revision;
      const kv = {key, value, lease, createRevision, modRevision: revision};
      written.set(key, kv);
      store.learn(key, kv, revision);
    }
    return written;
  }

  /** A lease that etcd does not know was revoked, or went with the data: then there is another one the next time. */
  async #checkLeases(error: unknown): Promise<never> {
    if (!/requested lease not found/.test((error as Error).message)) throw error;
    const {lease, aliveLease} = this.#options;
    await Promise.all([lease.check(), aliveLease?.check()]);
    throw new LostRaceError('the lease is gone');
  }
}
