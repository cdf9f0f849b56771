/** Lets work of one key happen one after the other, in the order of asking; work of different keys at the same time. */
export class Turns {
  readonly #last = new Map<string, Promise<unknown>>();

  /** Whether somebody of this key is at work or waits. */
  isTaken(key: string): boolean {
    return this.#last.has(key);
  }

  async run<T>(key: string, work: () => Promise<T>): Promise<T> {
    const turn = (this.#last.get(key) ?? Promise.resolve()).then(work);
    const settled = turn.then(
      () => {},
      () => {},
    );
    this.#last.set(key, settled);
    try {
      return await turn;
    } finally {
      if (this.#last.get(key) === settled) this.#last.delete(key);
    }
  }
}
