/** Numbers that follow from a seed, so that a failing run can be run again. */
export interface Random {
  /** A number in [0, below). */
  below(limit: number): number;
  pick<T>(items: readonly T[]): T;
  /** True once in `n` times. */
  oneIn(n: number): boolean;
}

/**
 * The seed of a run: WEFT_FUZZ_SEED, or any other. For CI always the same: there a change is judged, and what it has nothing to do
 * with is found by those who run tests by hand.
 */
export function chooseSeed(): number {
  const given = process.env['WEFT_FUZZ_SEED'];
  if (given !== undefined) return Number(given);
  return process.env['CI'] === 'true' ? 1 : Math.floor(Math.random() * 2 ** 31);
}

/** Mulberry32, by Tommy Ettinger: 32 bits of state are enough to vary tests. */
export function makeRandom(seed: number): Random {
  let state = seed >>> 0;
  const next = () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
  const below = (limit: number) => Math.floor(next() * limit);
  return {
    below,
    pick<T>(items: readonly T[]): T {
      const item = items[below(items.length)];
      if (item === undefined && items.length === 0) throw new Error('nothing to pick from');
      return item as T;
    },
    oneIn: (n) => below(n) === 0,
  };
}
