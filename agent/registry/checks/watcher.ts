import type {Health} from '../../catalog/model.ts';
import type {CheckDefinition} from '../registration.ts';
import {probe as probeOnce, type ProbeResult} from './probe.ts';

/** How a check stands. */
export interface CheckState {
  readonly definition: CheckDefinition;
  readonly status: Health;
  readonly output: string;
  /** Of successful looks, smoothed; undefined for heartbeats. */
  readonly latencyMs?: number | undefined;
  /** When it became critical, in milliseconds of `now`. */
  readonly criticalSinceMs?: number | undefined;
}

export interface WatcherOptions {
  /** How it stood when an agent before this one ended: it stays so until a look or a heartbeat says otherwise. */
  readonly before?: Pick<CheckState, 'status' | 'output'> | undefined;
  readonly onChange: () => void;
  readonly probe?: (check: CheckDefinition) => Promise<ProbeResult>;
  /** A clock that only goes forward. */
  readonly now?: () => number;
  /** Between 0 and 1: when within its interval a check first looks, so that not all look at once. */
  readonly random?: () => number;
}

/** How much a new measurement counts. */
const smoothing = 0.3;

/** Looks at an instance again and again, or waits for its heartbeats, until it is closed. */
export class CheckWatcher {
  readonly #options: Required<Omit<WatcherOptions, 'before'>>;
  #state: CheckState;
  #successes = 0;
  #failures = 0;
  #timer: NodeJS.Timeout | undefined;
  #closed = false;

  constructor(definition: CheckDefinition, {before, ...options}: WatcherOptions) {
    this.#options = {probe: probeOnce, now: () => performance.now(), random: Math.random, ...options};
    const {status, output} = before ?? {status: definition.initial, output: ''};
    const criticalSinceMs = status === 'critical' ? this.#options.now() : undefined;
    this.#state = {definition, status, output, criticalSinceMs};
    if (definition.ttlMs !== undefined) this.#expectHeartbeat(definition.ttlMs);
    // The first look comes soon, whatever the interval is: nobody likes to wait for a new instance.
    else this.#schedule(Math.min(definition.intervalMs, 1000) * this.#options.random() * 0.5);
  }

  get state(): CheckState {
    return this.#state;
  }

  /** A heartbeat; only of checks that have one. */
  beat(status: Health, output: string): void {
    const {ttlMs} = this.#state.definition;
    if (ttlMs === undefined) return;
    this.#set(status, output);
    this.#expectHeartbeat(ttlMs);
  }

  close(): void {
    this.#closed = true;
    clearTimeout(this.#timer);
  }

  #expectHeartbeat(ttlMs: number): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#set('critical', `no heartbeat for ${ttlMs} ms`), ttlMs);
  }

  #schedule(afterMs: number): void {
    if (!this.#closed) this.#timer = setTimeout(() => void this.#look(), afterMs);
  }

  async #look(): Promise<void> {
    const {definition} = this.#state;
    const started = this.#options.now();
    const {status, output} = await this.#options.probe(definition);
    if (this.#closed) return;
    const elapsed = this.#options.now() - started;
    this.#judge(status, output, elapsed);
    // The interval is from beginning to beginning.
    this.#schedule(Math.max(definition.intervalMs - elapsed, 0));
  }

  /** Some successes or failures in a row decide; until then it stays as it was. */
  #judge(status: Health, output: string, elapsedMs: number): void {
    const {definition, latencyMs} = this.#state;
    if (status === 'critical') {
      this.#successes = 0;
      if (++this.#failures >= definition.failuresBeforeCritical) this.#set('critical', output);
      return;
    }
    this.#failures = 0;
    const smoothed = latencyMs === undefined ? elapsedMs : latencyMs + (elapsedMs - latencyMs) * smoothing;
    const isDecided =
      ++this.#successes >= definition.successBeforePassing || this.#state.status !== 'critical';
    this.#set(isDecided ? status : this.#state.status, output, smoothed);
  }

  #set(status: Health, output: string, latencyMs = this.#state.latencyMs): void {
    const {definition, criticalSinceMs} = this.#state;
    const since = status === 'critical' ? (criticalSinceMs ?? this.#options.now()) : undefined;
    this.#state = {definition, status, output, latencyMs, criticalSinceMs: since};
    this.#options.onChange();
  }
}
