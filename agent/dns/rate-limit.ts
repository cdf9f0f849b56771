/** How many questions one source may ask. */
export interface RateLimit {
  readonly perSecond: number;
  /** How many at once, after a pause. */
  readonly burst: number;
}

const maxSources = 10_000;

/** A bucket of tokens for each source; `nowMs` comes from a clock that only goes forward. */
export class RateLimiter {
  readonly #limit: RateLimit;
  /** Oldest use first. */
  readonly #buckets = new Map<string, {tokens: number; atMs: number}>();

  constructor(limit: RateLimit) {
    this.#limit = limit;
  }

  /** Whether one more question of this source is let through. */
  allows(source: string, nowMs: number): boolean {
    const {perSecond, burst} = this.#limit;
    const bucket = this.#buckets.get(source) ?? {tokens: burst, atMs: nowMs};
    bucket.tokens = Math.min(burst, bucket.tokens + ((nowMs - bucket.atMs) * perSecond) / 1000);
    bucket.atMs = nowMs;
    this.#buckets.delete(source);
    this.#buckets.set(source, bucket);
    // Someone who makes up sources forgets only those that asked least recently.
    if (this.#buckets.size > maxSources) this.#buckets.delete(this.#buckets.keys().next().value!);
    if (bucket.tokens < 1) return false;
    bucket.tokens--;
    return true;
  }
}
