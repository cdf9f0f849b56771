import {setTimeout} from 'node:timers/promises';

/** How long to wait between attempts; doubled from `firstMs` up to `mostMs`. */
export interface Pace {
  readonly firstMs: number;
  readonly mostMs: number;
}

/** The pause before attempt `attempt` (0 is the first repetition): half of it is chance, or all hosts would come at once. */
export function pauseMs(
  attempt: number,
  {firstMs, mostMs}: Pace,
  random: () => number = Math.random,
): number {
  const whole = Math.min(mostMs, firstMs * 2 ** Math.min(attempt, 30));
  return whole / 2 + (whole / 2) * random();
}

/** Waits; returns early, without an error, when the signal says so. */
export async function rest(ms: number, signal: AbortSignal): Promise<void> {
  await setTimeout(ms, undefined, {signal}).catch(() => {});
}
