import type {Logger} from '../../lib/log.ts';
import type {EtcdClient} from '../etcd/client.ts';
import type {Store} from '../etcd/store.ts';
import type {Compare, KeyValue, Operation} from '../etcd/wire.ts';

/** What this host wants a key to hold; `leased` ones go with the host. */
export interface Wanted {
  readonly value: string;
  readonly leased: boolean;
}

/** etcd's own limit is 128 operations in a transaction. */
const mostPerTransaction = 100;

/** What etcd holds below a prefix, which ends in "/". */
export interface Followed {
  readonly prefix: string;
  readonly store: Store;
}

export interface PublisherOptions {
  readonly client: EtcdClient;
  /** Everything below each prefix that we write to. */
  readonly stores: readonly Followed[];
  readonly log: Logger;
}

interface Step {
  readonly key: string;
  readonly known: KeyValue | undefined;
  readonly operation: Operation;
}

/** Brings etcd in line with what this host has to say: only what differs is written, and only if nobody else wrote it meanwhile. */
export class SharingPublisher {
  readonly #options: PublisherOptions;

  constructor(options: PublisherOptions) {
    this.#options = options;
  }

  /** `isOwn`: keys of ours that are not wanted go. Tells how many keys were written; throws when etcd does not answer. */
  async publish(
    wanted: ReadonlyMap<string, Wanted>,
    {lease, isOwn}: {readonly lease: string; readonly isOwn: (kv: KeyValue) => boolean},
  ): Promise<number> {
    const steps = this.#plan(wanted, lease, isOwn);
    for (let at = 0; at < steps.length; at += mostPerTransaction) {
      await this.#write(steps.slice(at, at + mostPerTransaction));
    }
    return steps.length;
  }

  #plan(
    wanted: ReadonlyMap<string, Wanted>,
    lease: string,
    isOwn: (kv: KeyValue) => boolean,
  ): readonly Step[] {
    const puts = [...wanted].flatMap(([key, {value, leased}]): Step[] => {
      const known = this.#find(key);
      const own = leased ? lease : '0';
      if (known?.value === value && known.lease === own) return [];
      return [{key, known, operation: {put: key, value, lease: own}}];
    });
    const removals = this.#options.stores.flatMap(({store}) =>
      [...store.entries.values()]
        .filter((kv) => !wanted.has(kv.key) && isOwn(kv))
        .map((kv): Step => ({key: kv.key, known: kv, operation: {remove: kv.key}})),
    );
    return [...puts, ...removals];
  }

  #find(key: string): KeyValue | undefined {
    return this.#storeOf(key)?.entries.get(key);
  }

  #storeOf(key: string): Store | undefined {
    return this.#options.stores.find(({prefix}) => key.startsWith(prefix))?.store;
  }

  async #write(steps: readonly Step[]): Promise<void> {
    const {client} = this.#options;
    const compare = steps.map(({key, known}): Compare => ({key, modRevision: known?.modRevision ?? 0}));
    const {succeeded, revision} = await client.txn(
      compare,
      steps.map(({operation}) => operation),
    );
    if (succeeded) {
      for (const {key, operation} of steps) this.#learn(key, operation, revision);
      return;
    }
    if (steps.length === 1) {
      // Somebody else wrote it: the watch tells what, and then it is decided anew.
      this.#options.log.info({key: steps[0]!.key}, 'a key was changed by somebody else');
      return;
    }
    // One of them stands in the way of the others.
    for (const step of steps) await this.#write([step]);
  }

  #learn(key: string, operation: Operation, revision: number): void {
    const kv =
      'put' in operation
        ? {
            key,
            value: operation.value,
            createRevision: revision,
            modRevision: revision,
            lease: operation.lease,
          }
        : undefined;
    this.#storeOf(key)?.learn(key, kv, revision);
  }
}
