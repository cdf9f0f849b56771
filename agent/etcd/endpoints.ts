/** The members of an etcd cluster as clients reach them: one is used until it fails, then the next. */
export class Endpoints {
  readonly #urls: readonly URL[];
  readonly #listeners = new Set<(url: URL) => void>();
  #at: number;

  /** Hosts begin with different ones, or the first would bear them all. */
  constructor(urls: readonly string[], random: () => number = Math.random) {
    this.#urls = urls.map((url) => new URL(url));
    this.#at = Math.floor(random() * urls.length);
  }

  get count(): number {
    return this.#urls.length;
  }

  get current(): URL {
    return this.#urls[this.#at]!;
  }

  /** Goes on to the next unless somebody did so before; tells who listens that `url` is not to be trusted. */
  fail(url: URL): void {
    if (url === this.current) this.#at = (this.#at + 1) % this.#urls.length;
    for (const listener of this.#listeners) listener(url);
  }

  onFail(listener: (url: URL) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }
}
