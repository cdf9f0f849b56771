/** What is kept of many measurements of one thing. */
export interface Spread {
  readonly count: number;
  readonly median: number;
  readonly p95: number;
}

/** Throws for no values: nothing was measured. */
export function spreadOf(values: readonly number[]): Spread {
  if (values.length === 0) throw new Error('nothing was measured');
  const sorted = values.toSorted((a, b) => a - b);
  return {count: values.length, median: quantile(sorted, 0.5), p95: quantile(sorted, 0.95)};
}

/** Of ascending values, between the two nearest where it falls between them. */
function quantile(sorted: readonly number[], share: number): number {
  const at = (sorted.length - 1) * share;
  const [below, above] = [sorted[Math.floor(at)]!, sorted[Math.ceil(at)]!];
  return below + (above - below) * (at - Math.floor(at));
}
