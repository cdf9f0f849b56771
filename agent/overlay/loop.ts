/** What can make the loop run: `delta` alone (a membership's change) may be applied without asking the kernel. */
export type Wake = 'delta' | 'kernel' | 'firewall' | 'underlay' | 'timer' | 'retry' | 'reload' | 'request';

export interface LoopOptions {
  /** One pass, with everything that asked for it since the last one. What it throws is left to `onError`. */
  readonly run: (wakes: ReadonlySet<Wake>) => Promise<void>;
  readonly onError: (error: unknown) => void;
  /** A pass begins this long after the last wake (10), */
  readonly debounceMs?: number;
  /** and at most this long after the first (100). */
  readonly maxDelayMs?: number;
  /** How often one runs without being asked (60,000), give or take a fifth: hosts must not beat as one. */
  readonly intervalMs?: number;
  /** 0 to 1. */
  readonly random?: () => number;
}

/**
 * Runs one piece of work again and again: when woken, and by the clock. Never two at a time; what comes during a pass
 * leads to one more. It is level-triggered: a wake carries no content, so none can be lost or come out of order.
 */
export class ReconcileLoop {
  readonly #options: Required<LoopOptions>;
  readonly #wakes = new Set<Wake>();
  #firstWakeAt = 0;
  #debounce: NodeJS.Timeout | undefined;
  #timer: NodeJS.Timeout | undefined;
  #retry: NodeJS.Timeout | undefined;
  #retryAt = Infinity;
  #running: Promise<void> | undefined;
  #stopped = false;
  /** Counts passes that ended. */
  #generation = 0;

  constructor(options: LoopOptions) {
    this.#options = {debounceMs: 10, maxDelayMs: 100, intervalMs: 60_000, random: Math.random, ...options};
    this.#startTimer();
  }

  get generation(): number {
    return this.#generation;
  }

  wake(reason: Wake): void {
    if (this.#stopped) return;
    const now = performance.now();
    if (this.#wakes.size === 0) this.#firstWakeAt = now;
    this.#wakes.add(reason);
    if (this.#running) return;
    const {debounceMs, maxDelayMs} = this.#options;
    const left = Math.max(0, Math.min(debounceMs, this.#firstWakeAt + maxDelayMs - now));
    clearTimeout(this.#debounce);
    this.#debounce = setTimeout(() => this.#start(), left);
  }

  /** Wakes once this much later, or earlier if that was asked for before. */
  retryIn(delayMs: number): void {
    const at = performance.now() + delayMs;
    if (this.#stopped || at >= this.#retryAt) return;
    clearTimeout(this.#retry);
    this.#retryAt = at;
    this.#retry = setTimeout(() => {
      this.#retryAt = Infinity;
      this.wake('retry');
    }, delayMs);
  }

  /** Asks for a pass and waits until one that began after this call has ended. */
  async runNow(reason: Wake): Promise<void> {
    await this.#running;
    const wanted = this.#generation + 1;
    this.wake(reason);
    while (!this.#stopped && this.#generation < wanted) {
      clearTimeout(this.#debounce);
      this.#start();
      await this.#running;
    }
  }

  /** Lets a pass that is under way end, and begins no other. */
  async stop(): Promise<void> {
    this.#stopped = true;
    for (const timer of [this.#debounce, this.#timer, this.#retry]) clearTimeout(timer);
    await this.#running;
  }

  #startTimer(): void {
    const {intervalMs, random} = this.#options;
    this.#timer = setTimeout(
      () => {
        this.wake('timer');
        if (!this.#stopped) this.#startTimer();
      },
      intervalMs * (0.8 + 0.4 * random()),
    );
  }

  #start(): void {
    if (this.#running || this.#stopped || this.#wakes.size === 0) return;
    const wakes = new Set(this.#wakes);
    this.#wakes.clear();
    this.#running = this.#options
      .run(wakes)
      .catch(this.#options.onError)
      .finally(() => {
        this.#generation++;
        this.#running = undefined;
        // What came meanwhile has waited long enough for company.
        if (this.#wakes.size > 0) this.#start();
      });
  }
}
