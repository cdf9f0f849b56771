/** `local`: what belongs to this host and is told to others; `remote`: what others told. */
export type Origin = 'local' | 'remote';

export interface Item {
  /** Tells it from all others of its collection, on every host. */
  readonly key: string;
}

export interface Held<Value> {
  readonly origin: Origin;
  readonly value: Value;
  /** The collection's index when it last changed. */
  readonly index: number;
}

/** What became of one key; `before` and `after` are absent where there was or is none. */
export interface Change<Value> {
  readonly key: string;
  readonly before?: Held<Value> | undefined;
  readonly after?: Held<Value> | undefined;
}

export type Listener<Value> = (changes: readonly Change<Value>[]) => void;

/**
 * Things by key, with everybody told who wants to know of changes. Many changes of one moment are told at once, and what was undone
 * meanwhile is not told at all. What is local hides what others say of the same key.
 */
export class Collection<Value extends Item> {
  readonly #held = {local: new Map<string, Held<Value>>(), remote: new Map<string, Held<Value>>()};
  readonly #listeners = new Set<Listener<Value>>();
  /** What each changed key was when listeners were last told. */
  readonly #changed = new Map<string, Held<Value> | undefined>();
  #index = 1;

  /** Grows with every change: for those who ask whether there is anything new. */
  get index(): number {
    return this.#index;
  }

  get size(): number {
    return new Set([...this.#held.local.keys(), ...this.#held.remote.keys()]).size;
  }

  find(key: string): Held<Value> | undefined {
    return this.#held.local.get(key) ?? this.#held.remote.get(key);
  }

  list(origin?: Origin): readonly Value[] {
    return this.listHeld(origin).map(({value}) => value);
  }

  listHeld(origin?: Origin): readonly Held<Value>[] {
    if (origin) return [...this.#held[origin].values()];
    const remote = [...this.#held.remote]
      .filter(([key]) => !this.#held.local.has(key))
      .map(([, held]) => held);
    return [...this.#held.local.values(), ...remote];
  }

  /** Puts a thing in place of the one of its key. The same again is no change. */
  put(origin: Origin, value: Value): void {
    const {key} = value;
    const known = this.#held[origin].get(key);
    if (known && JSON.stringify(known.value) === JSON.stringify(value)) return;
    this.#note(key);
    this.#held[origin].set(key, {origin, value, index: ++this.#index});
  }

  /** Tells whether it was there. */
  remove(origin: Origin, key: string): boolean {
    if (!this.#held[origin].has(key)) return false;
    this.#note(key);
    this.#held[origin].delete(key);
    this.#index++;
    return true;
  }

  /** Makes `values` all there is of an origin. */
  replace(origin: Origin, values: readonly Value[]): void {
    const keys = new Set(values.map(({key}) => key));
    for (const key of this.#held[origin].keys()) if (!keys.has(key)) this.remove(origin, key);
    for (const value of values) this.put(origin, value);
  }

  /** Calls back with what is there, as changes, and then with every change; gives what ends it. */
  subscribe(listener: Listener<Value>): () => void {
    this.#tell();
    this.#listeners.add(listener);
    const all = this.listHeld().map((held) => ({key: held.value.key, after: held}));
    if (all.length > 0) listener(all);
    return () => void this.#listeners.delete(listener);
  }

  /** Resolves when the index is beyond `index`, or after `waitMs`: for questions that wait for news. */
  async waitBeyond(index: number, waitMs: number, signal?: AbortSignal): Promise<void> {
    if (this.#index > index || waitMs <= 0) return;
    const {promise, resolve} = Promise.withResolvers<void>();
    const check = () => this.#index > index && resolve();
    this.#listeners.add(check);
    const timer = setTimeout(resolve, waitMs);
    signal?.addEventListener('abort', () => resolve(), {once: true});
    await promise;
    clearTimeout(timer);
    this.#listeners.delete(check);
  }

  #note(key: string): void {
    if (this.#changed.size === 0) queueMicrotask(() => this.#tell());
    if (!this.#changed.has(key)) this.#changed.set(key, this.find(key));
  }

  #tell(): void {
    if (this.#changed.size === 0) return;
    const changes = [...this.#changed].flatMap(([key, before]) => {
      const after = this.find(key);
      return before?.value === after?.value ? [] : [{key, before, after}];
    });
    this.#changed.clear();
    if (changes.length === 0) return;
    for (const listener of this.#listeners) listener(changes);
  }
}
