/** Something that only so many may have at the same time. */
export interface Slot {
  /** Gives it up; again is nothing. */
  release(): void;
}

export interface SlotsOptions {
  readonly count: number;
  /** A slot that is held for longer is free again: whoever has it waits for something. */
  readonly patienceMs: number;
}

/**
 * Lets few calls be at work at the same time, and none begin before the event loop has looked who else is there. One thread does
 * all the work: to begin a hundred calls at once would finish none of them sooner, and newcomers, who give up after a quarter of
 * a second, would wait for a first word until all are done.
 */
export class Slots {
  readonly #options: SlotsOptions;
  readonly #waiting: (() => void)[] = [];
  #taken = 0;
  #isScheduled = false;

  constructor(options: SlotsOptions) {
    this.#options = options;
  }

  /** Resolves when it is one's turn. `first`: before all who wait already, to finish what is half done. */
  async take({first = false}: {readonly first?: boolean} = {}): Promise<Slot> {
    const {promise, resolve} = Promise.withResolvers<void>();
    if (first) this.#waiting.unshift(resolve);
    else this.#waiting.push(resolve);
    if (this.#waiting.length === 1 && this.#taken === 0) this.#next();
    else this.#schedule();
    await promise;
    return this.#occupy();
  }

  #occupy(): Slot {
    let isHeld = true;
    const release = () => {
      if (!isHeld) return;
      isHeld = false;
      clearTimeout(timer);
      this.#taken--;
      this.#schedule();
    };
    const timer = setTimeout(release, this.#options.patienceMs);
    return {release};
  }

  #schedule(): void {
    if (this.#isScheduled || this.#waiting.length === 0 || this.#taken >= this.#options.count) return;
    this.#isScheduled = true;
    setImmediate(() => {
      this.#isScheduled = false;
      this.#next();
      this.#schedule();
    });
  }

  #next(): void {
    if (this.#taken >= this.#options.count) return;
    const begin = this.#waiting.shift();
    if (!begin) return;
    this.#taken++;
    begin();
  }
}
