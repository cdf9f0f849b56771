/** Plugins by name, of which some are made when they are first asked for. */
export class PluginTable<P> {
  readonly #made = new Map<string, P>();
  readonly #makers: ReadonlyMap<string, () => P>;

  /** The names in this order; each with the plugin, or with what makes it. */
  constructor(entries: readonly (readonly [name: string, make: () => P])[]) {
    this.#makers = new Map(entries);
  }

  has(name: string): boolean {
    return this.#makers.has(name);
  }

  keys(): Iterable<string> {
    return this.#makers.keys();
  }

  get(name: string): P | undefined {
    const known = this.#made.get(name);
    if (known !== undefined) return known;
    const made = this.#makers.get(name)?.();
    if (made !== undefined) this.#made.set(name, made);
    return made;
  }
}
