import type {Logger} from '../../lib/log.ts';
import {pauseMs, rest, type Pace} from '../outbound/backoff.ts';
import type {EtcdClient} from './client.ts';

export interface LeaseOptions {
  readonly client: EtcdClient;
  readonly ttlS: number;
  readonly retry: Pace;
  readonly log: Logger;
  /** The lease is gone, and with it all keys that were attached to it. */
  readonly onLost: () => void;
}

// Renewed more often than needed: a host that slept or was cut off does not find its lease at its very end.
const mostBetweenMs = 3_600_000;

/**
 * One lease that is renewed as long as the agent runs, by a clock that nobody can set and the time that etcd says is left.
 * Only etcd says that it is gone: whatever the clock may think.
 */
export class KeptLease {
  readonly #options: LeaseOptions;
  readonly #closed = new AbortController();
  #id: string | undefined;
  #granting: Promise<string> | undefined;
  #keeping: Promise<void> = Promise.resolve();
  #until = 0;

  constructor(options: LeaseOptions) {
    this.#options = options;
  }

  get id(): string | undefined {
    return this.#id;
  }

  /** Seconds that are left as far as we know; undefined without a lease. */
  get leftS(): number | undefined {
    return this.#id === undefined ? undefined : (this.#until - performance.now()) / 1000;
  }

  /** The lease's id, of a new one if there is none. */
  async ensure(): Promise<string> {
    if (this.#id !== undefined) return this.#id;
    this.#granting ??= this.#options.client.grantLease(this.#options.ttlS).finally(() => {
      this.#granting = undefined;
    });
    const id = await this.#granting;
    if (this.#id === undefined) this.#keep(id, this.#options.ttlS);
    return this.#id ?? id;
  }

  /** Goes on with the lease that a key of ours has, so that nothing needs to be written; false if it is of no use. */
  async adopt(id: string): Promise<boolean> {
    if (this.#id !== undefined) return this.#id === id;
    const {client, ttlS} = this.#options;
    if ((await client.grantedTtl(id)) !== ttlS) return false;
    const left = await client.keepLeaseAlive(id);
    if (left <= 0 || this.#id !== undefined) return this.#id === id;
    this.#keep(id, left);
    return true;
  }

  /** Asks at once whether the lease is still there: something that hangs on it is gone, or was refused. */
  async check(): Promise<void> {
    const id = this.#id;
    if (id !== undefined && (await this.#options.client.keepLeaseAlive(id)) <= 0) this.#lose(id);
  }

  /** Stops renewing; the lease lives on until its end. */
  async close(): Promise<void> {
    this.#closed.abort();
    await this.#keeping;
  }

  #keep(id: string, ttlS: number): void {
    this.#id = id;
    this.#keeping = this.#renew(id, ttlS);
  }

  async #renew(id: string, ttlS: number): Promise<void> {
    const {client, retry, log} = this.#options;
    const {signal} = this.#closed;
    let left = ttlS;
    this.#until = performance.now() + left * 1000;
    for (let failed = 0; ;) {
      const wait = failed > 0 ? pauseMs(failed - 1, retry) : Math.min((left * 1000) / 3, mostBetweenMs);
      await rest(wait, signal);
      if (signal.aborted || this.#id !== id) return;
      try {
        left = await client.keepLeaseAlive(id);
        failed = 0;
      } catch (error) {
        if (signal.aborted) return;
        failed++;
        log.debug({lease: id, error}, 'lease was not renewed');
        continue;
      }
      if (left <= 0) return this.#lose(id);
      this.#until = performance.now() + left * 1000;
    }
  }

  #lose(id: string): void {
    if (this.#id !== id) return;
    this.#id = undefined;
    this.#options.log.warn({lease: id}, 'lease is gone');
    this.#options.onLost();
  }
}
