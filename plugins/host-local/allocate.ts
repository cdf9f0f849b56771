import type {Ip} from '../../lib/ip/address.ts';
import {sameIp} from '../../lib/ip/address.ts';
import {plus, rangeContains} from './range.ts';
import type {Range, RangeSet} from './range.ts';

/** Addresses to try one after the other, both ends included; none if `from` is behind `to`. */
interface Segment {
  readonly range: Range;
  readonly from: Ip;
  readonly to: Ip;
}

/** An address for a container, and the range it comes from. */
export interface Choice {
  readonly ip: Ip;
  readonly range: Range;
}

/**
 * The order in which a set's addresses are tried: from the one behind `last`, the address given last, round all
 * ranges, so that `last` is tried at the very end and an address comes back as late as possible. Without
 * `last`, or when it is in none of the ranges, from the start of the first.
 */
export function planSegments(set: RangeSet, last: Ip | undefined): Segment[] {
  const at = last ? set.findIndex((range) => rangeContains(range, last)) : -1;
  if (!last || at < 0) return set.map((range) => ({range, from: range.start, to: range.end}));
  const range = set[at]!;
  const others = [...set.slice(at + 1), ...set.slice(0, at)];
  return [
    {range, from: plus(last, 1n), to: range.end},
    ...others.map((other) => ({range: other, from: other.start, to: other.end})),
    {range, from: range.start, to: last},
  ];
}

/** The address to give next. `nextFree` finds the first from one address to another that nobody has. */
export function chooseAddress(
  set: RangeSet,
  last: Ip | undefined,
  nextFree: (from: Ip, to: Ip) => Ip | undefined,
): Choice | undefined {
  for (const {range, from, to} of planSegments(set, last)) {
    for (let at = from; at.value <= to.value;) {
      const ip = nextFree(at, to);
      if (!ip) break;
      // Only its own range's gateway is passed over: another's is an address like any other.
      if (!sameIp(ip, range.gateway)) return {ip, range};
      at = plus(ip, 1n);
    }
  }
  return undefined;
}
