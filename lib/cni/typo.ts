/**
 * The known key that `key` is probably a typing error of: at most two slips away (a letter too
 * many, missing, wrong, or two swapped), fewer for short keys, which resemble each other by nature.
 */
export function findIntended(key: string, known: Iterable<string>): string | undefined {
  const typed = key.toLowerCase();
  for (const candidate of known) {
    const allowed = Math.min(2, Math.floor((candidate.length - 1) / 2));
    if (Math.abs(candidate.length - typed.length) > allowed) continue;
    const slips = editDistance(typed, candidate.toLowerCase());
    if (slips > 0 && slips <= allowed) return candidate;
  }
  return undefined;
}

/** Optimal string alignment: insertions, deletions, substitutions and swaps of neighbours. */
export function editDistance(a: string, b: string): number {
  let beforeLast: number[] = [];
  let last = Array.from({length: b.length + 1}, (_, j) => j);
  for (let i = 1; i <= a.length; i++) {
    const row = [i];
    for (let j = 1; j <= b.length; j++) {
      const same = a[i - 1] === b[j - 1] ? 0 : 1;
      row[j] = Math.min(last[j]! + 1, row[j - 1]! + 1, last[j - 1]! + same);
      const isSwap = i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1];
      if (isSwap) row[j] = Math.min(row[j]!, beforeLast[j - 2]! + 1);
    }
    beforeLast = last;
    last = row;
  }
  return last[b.length]!;
}
