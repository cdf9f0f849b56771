import type {Logger} from '../../lib/log.ts';
import {pauseMs, rest, type Pace} from '../outbound/backoff.ts';
import type {EtcdClient} from './client.ts';
import {GapError, watchPrefix, type WatchEvent} from './watch.ts';
import type {KeyValue} from './wire.ts';

export interface StoreOptions {
  readonly client: EtcdClient;
  /** Ends in "/". */
  readonly prefix: string;
  readonly log: Logger;
  readonly retry: Pace;
  readonly idleMs: number;
  /** How often it is asked whether the watch tells the truth. */
  readonly probeMs: number;
  /** What is known has changed. */
  readonly onChange: () => void;
  /** The connection broke, or could not be made. */
  readonly onFault: (error: Error) => void;
  /** Everything up to now is known and the watch is open. */
  readonly onHealthy: () => void;
}

/**
 * What etcd holds below a prefix, kept current: listed once, then followed from that revision on; listed again after a
 * compaction, when the store was emptied, and when a probe says that the watch is silent about something.
 */
export class Store {
  readonly #options: StoreOptions;
  readonly #closed = new AbortController();
  #entries = new Map<string, KeyValue>();
  #revision = 0;
  #cluster = '';
  #isListed = false;
  /** Ends the watch that is open, so that everything is listed again. */
  #relist: AbortController | undefined;
  #waiting: (() => void)[] = [];
  #done: Promise<void> | undefined;

  constructor(options: StoreOptions) {
    this.#options = options;
  }

  /** False until everything was listed once. */
  get isListed(): boolean {
    return this.#isListed;
  }

  get revision(): number {
    return this.#revision;
  }

  /** By whole key. */
  get entries(): ReadonlyMap<string, KeyValue> {
    return this.#entries;
  }

  start(): void {
    this.#done = Promise.all([this.#follow(), this.#probe()]).then(() => {});
  }

  async close(): Promise<void> {
    this.#closed.abort(new Error('closed'));
    for (const wake of this.#waiting.splice(0)) wake();
    await this.#done;
  }

  /** Takes in what a transaction wrote or found, before the watch tells it: `value` undefined is "not there". */
  learn(key: string, kv: KeyValue | undefined, revision: number): void {
    const known = this.#entries.get(key);
    if ((known?.modRevision ?? 0) > revision) return;
    if (kv !== undefined) this.#entries.set(key, kv);
    else if (known !== undefined) this.#entries.delete(key);
  }

  /** Lists everything again; resolves when that was done, rejects when it was not within the time. */
  async relist(timeoutMs: number): Promise<void> {
    const {promise, resolve, reject} = Promise.withResolvers<void>();
    const timer = setTimeout(
      () => reject(new Error(`etcd did not answer within ${timeoutMs} ms`)),
      timeoutMs,
    );
    this.#waiting.push(resolve);
    this.#relist?.abort(new GapError('asked to list again'));
    try {
      await promise;
    } finally {
      clearTimeout(timer);
      this.#waiting = this.#waiting.filter((each) => each !== resolve);
    }
  }

  /** Waits until the watch has told of a key's change, and so of all that was written with it; else lists again. */
  async catchUp(key: string, modRevision: number, timeoutMs: number): Promise<void> {
    const deadline = performance.now() + timeoutMs;
    while ((this.#entries.get(key)?.modRevision ?? 0) < modRevision) {
      if (performance.now() > deadline) return this.relist(timeoutMs);
      await rest(5, this.#closed.signal);
      if (this.#closed.signal.aborted) return;
    }
  }

  async #follow(): Promise<void> {
    const {client, prefix, log, retry, idleMs, onFault, onHealthy} = this.#options;
    const {signal} = this.#closed;
    let mustList = true;
    for (let attempt = 0; !signal.aborted;) {
      try {
        // Who asks while a list is on its way wants one that began later.
        while (mustList || this.#waiting.length > 0) {
          await this.#list();
          mustList = false;
          if (signal.aborted) return;
        }
        this.#relist = new AbortController();
        const one = AbortSignal.any([signal, this.#relist.signal]);
        await watchPrefix(client, {
          prefix,
          after: this.#revision,
          signal: one,
          idleMs,
          onOpen: () => {
            attempt = 0;
            onHealthy();
          },
          onEvents: (events, revision) => this.#apply(events, revision),
        });
      } catch (error) {
        if (signal.aborted) return;
        const isGap = error instanceof GapError || this.#relist?.signal.reason instanceof GapError;
        this.#relist = undefined;
        if (isGap) {
          log.info({prefix, reason: (error as Error).message}, 'everything is listed again');
          mustList = true;
          // Once at once; if that does not help, slowly.
          if (attempt++ === 0) continue;
        } else {
          onFault(error as Error);
        }
        await rest(pauseMs(attempt++, retry), signal);
      }
    }
  }

  async #list(): Promise<void> {
    const {client, prefix, onChange, log} = this.#options;
    const waiting = [...this.#waiting];
    const {revision, cluster, kvs} = await client.list(prefix);
    if (this.#closed.signal.aborted) return;
    const isAnother = this.#isListed && (revision < this.#revision || cluster !== this.#cluster);
    if (isAnother) log.warn({prefix, revision, before: this.#revision}, 'the store has lost its data');
    const entries = new Map(kvs.map((kv) => [kv.key, kv]));
    // What we wrote while the list was on its way is newer than it.
    if (!isAnother)
      for (const [key, kv] of this.#entries) if (kv.modRevision > revision) entries.set(key, kv);
    this.#entries = entries;
    this.#revision = revision;
    this.#cluster = cluster;
    this.#isListed = true;
    this.#waiting = this.#waiting.filter((each) => !waiting.includes(each));
    for (const wake of waiting) wake();
    onChange();
  }

  #apply(events: readonly WatchEvent[], revision: number): void {
    let changed = false;
    for (const {kind, kv} of events) {
      const known = this.#entries.get(kv.key);
      if (known !== undefined && known.modRevision >= kv.modRevision) continue;
      if (kind === 'put') this.#entries.set(kv.key, kv);
      else if (!this.#entries.delete(kv.key)) continue;
      changed = true;
    }
    this.#revision = Math.max(this.#revision, revision);
    if (changed) this.#options.onChange();
  }

  /** A watch may be open and say nothing of what happens: a proxy, or a bug. Then count and last change differ. */
  async #probe(): Promise<void> {
    const {client, prefix, probeMs, log} = this.#options;
    const {signal} = this.#closed;
    let differed = false;
    while (!signal.aborted) {
      await rest(differed ? probeMs / 10 : probeMs * (0.8 + 0.4 * Math.random()), signal);
      if (signal.aborted || !this.#isListed) continue;
      try {
        const {count, modRevision} = await client.probe(prefix);
        const differs = count !== this.#entries.size || modRevision > this.#revision;
        // Once may be an event on its way.
        if (differs && differed) {
          log.warn({prefix, count, known: this.#entries.size}, 'the watch is silent about changes');
          this.#relist?.abort(new GapError('the watch is silent about changes'));
          differed = false;
        } else differed = differs;
      } catch {
        // Whoever does not answer is given up by the client, and the watch with it.
        differed = false;
      }
    }
  }
}
