interface Failure {
  readonly attempts: number;
  /** On the clock of `performance.now`. */
  readonly retryAtMs: number;
  readonly error: string;
}

/**
 * What failed, each with a delay of its own that doubles: one peer that cannot be programmed costs the others nothing.
 * Time is that of `performance.now`, which no change of the clock moves.
 */
export class Backoff {
  readonly #failures = new Map<string, Failure>();
  readonly #firstMs: number;
  readonly #mostMs: number;

  constructor({firstMs = 100, mostMs = 30_000}: {readonly firstMs?: number; readonly mostMs?: number} = {}) {
    this.#firstMs = firstMs;
    this.#mostMs = mostMs;
  }

  get size(): number {
    return this.#failures.size;
  }

  fail(key: string, error: string, now = performance.now()): void {
    const attempts = (this.#failures.get(key)?.attempts ?? 0) + 1;
    const delay = Math.min(this.#mostMs, this.#firstMs * 2 ** Math.min(attempts - 1, 30));
    this.#failures.set(key, {attempts, retryAtMs: now + delay, error});
  }

  succeed(key: string): void {
    this.#failures.delete(key);
  }

  /** Forgets all that is not in `keys`. */
  keep(keys: ReadonlySet<string>): void {
    for (const key of this.#failures.keys()) if (!keys.has(key)) this.#failures.delete(key);
  }

  /** Whether it is to be left alone for now. */
  isWaiting(key: string, now = performance.now()): boolean {
    const failure = this.#failures.get(key);
    return failure !== undefined && failure.retryAtMs > now;
  }

  /** Why it failed last, if it did. */
  errorOf(key: string): string | undefined {
    return this.#failures.get(key)?.error;
  }

  /** How long until the next may be tried; `undefined` when nothing failed. */
  nextInMs(now = performance.now()): number | undefined {
    let next: number | undefined;
    for (const {retryAtMs} of this.#failures.values()) next = Math.min(next ?? Infinity, retryAtMs);
    return next === undefined ? undefined : Math.max(0, next - now);
  }
}
