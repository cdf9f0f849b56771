import type {Choice} from '../../lib/netlink/nft/balance.ts';
import type {Policy} from '../catalog/model.ts';
import {planMaglev} from './maglev.ts';

/** Where connections may go. */
export interface Target {
  readonly address: string;
  readonly port: number;
  /** At least 1. */
  readonly weight: number;
}

/** A table of destinations by number, and how a connection gets its number. */
export interface SlotTable {
  readonly by: Choice['by'];
  readonly slots: readonly Target[];
}

/** More slots than these do not make weights better, only the table larger. */
const mostSlots = 256;

/** Every policy is a way to number connections and a table of who gets which number. Targets are in an order that stays. */
export function planSlots(policy: Policy, targets: readonly Target[]): SlotTable {
  switch (policy) {
    case 'roundRobin':
      return {by: 'inc', slots: targets};
    case 'random':
      return {by: 'random', slots: targets};
    case 'weighted':
      return {by: 'inc', slots: interleave(targets)};
    case 'leastLatency':
      return {by: 'random', slots: interleave(targets)};
    case 'sourceHash':
      return {by: 'source', slots: planMaglev(targets)};
  }
}

/**
 * Each target as often as it weighs, no two of the same beside each other where that can be (smooth weighted round robin): 5, 1, 1
 * is a a b a c a a.
 */
export function interleave(targets: readonly Target[]): readonly Target[] {
  const weights = reduceWeights(targets.map(({weight}) => weight));
  const total = weights.reduce((sum, weight) => sum + weight, 0);
  const current = weights.map(() => 0);
  return Array.from({length: total}, () => {
    let best = 0;
    for (const [i, weight] of weights.entries()) {
      current[i]! += weight;
      if (current[i]! > current[best]!) best = i;
    }
    current[best]! -= total;
    return targets[best]!;
  });
}

/** The smallest whole numbers in the same proportion; where they sum up to too many slots, nearly so. */
export function reduceWeights(weights: readonly number[]): readonly number[] {
  const divisor = weights.reduce(greatestCommonDivisor, 0);
  const reduced = weights.map((weight) => weight / Math.max(divisor, 1));
  const total = reduced.reduce((sum, weight) => sum + weight, 0);
  if (total <= mostSlots || reduced.length > mostSlots)
    return reduced.length > mostSlots ? reduced.map(() => 1) : reduced;
  return reduced.map((weight) => Math.max(1, Math.round((weight * mostSlots) / total)));
}

function greatestCommonDivisor(a: number, b: number): number {
  return b === 0 ? a : greatestCommonDivisor(b, a % b);
}
