import {bitsOf, familyOf, formatIp, ipFromValue} from '../../lib/ip/address.ts';
import type {Ip} from '../../lib/ip/address.ts';
import {containsIp, formatCidr, lastOf, networkOf} from '../../lib/ip/cidr.ts';
import type {Cidr} from '../../lib/ip/cidr.ts';

/** A range as the configuration spells it; what is left out gets its default. */
export interface RangeConf {
  readonly subnet?: Cidr | undefined;
  readonly rangeStart?: Ip | undefined;
  readonly rangeEnd?: Ip | undefined;
  readonly gateway?: Ip | undefined;
}

/** Addresses from `start` to `end`, both included; `gateway` is never given to anybody. */
export interface Range {
  readonly subnet: Cidr;
  readonly start: Ip;
  readonly end: Ip;
  readonly gateway: Ip;
}

/** Ranges of which a container gets one address; at least one, all of one family. */
export type RangeSet = readonly Range[];

/**
 * Checks the range sets of a configuration and fills in defaults. Throws an Error with the reference's sentence,
 * which names the set.
 */
export function planRangeSets(sets: readonly (readonly RangeConf[])[]): RangeSet[] {
  const planned = sets.map((set, i) => {
    try {
      return planRangeSet(set);
    } catch (cause) {
      throw new Error(`invalid range set ${i}: ${(cause as Error).message}`, {cause});
    }
  });
  for (const [i, set] of planned.entries()) {
    for (let j = i + 1; j < planned.length; j++) {
      if (set.some((a) => planned[j]!.some((b) => rangesOverlap(a, b)))) {
        throw new Error(`range set ${i} overlaps with ${j}`);
      }
    }
  }
  return planned;
}

function planRangeSet(confs: readonly RangeConf[]): RangeSet {
  if (confs.length === 0) throw new Error('empty range set');
  const set: Range[] = [];
  for (const conf of confs) {
    const range = planRange(conf);
    if (set[0] && familyOf(set[0].start) !== familyOf(range.start)) throw new Error('mixed address families');
    set.push(range);
  }
  for (const [i, a] of set.entries()) {
    for (const b of set.slice(i + 1)) {
      if (rangesOverlap(a, b)) throw new Error(`subnets ${formatRange(a)} and ${formatRange(b)} overlap`);
    }
  }
  return set;
}

function planRange({subnet, rangeStart, rangeEnd, gateway}: RangeConf): Range {
  // The reference's words for a range without its subnet.
  if (!subnet) throw new Error('IP <nil> not v4 nor v6');
  const bits = bitsOf(familyOf(subnet.ip));
  if (subnet.prefix > bits - 2) throw new Error(`Network ${formatCidr(subnet)} too small to allocate from`);
  const network = networkOf(subnet);
  if (network.value !== subnet.ip.value) {
    throw new Error(
      `Network has host bits set. For a subnet mask of length ${subnet.prefix} the network address is ${formatIp(network)}`,
    );
  }
  if (rangeStart && !(containsIp(subnet, rangeStart) && !(rangeEnd && isBefore(rangeEnd, rangeStart)))) {
    throw new Error(`RangeStart ${formatIp(rangeStart)} not in network ${formatCidr(subnet)}`);
  }
  const first = plus(network, 1n);
  const start = rangeStart ?? first;
  if (rangeEnd && !(containsIp(subnet, rangeEnd) && !isBefore(rangeEnd, start))) {
    throw new Error(`RangeEnd ${formatIp(rangeEnd)} not in network ${formatCidr(subnet)}`);
  }
  return {subnet, start, end: rangeEnd ?? lastUsable(subnet), gateway: gateway ?? first};
}

/** The last address of a subnet; in IPv4 the one before the broadcast address. */
function lastUsable(subnet: Cidr): Ip {
  const last = lastOf(subnet);
  return familyOf(last) === 4 ? plus(last, -1n) : last;
}

function isBefore(a: Ip, b: Ip): boolean {
  return familyOf(a) === familyOf(b) && a.value < b.value;
}

export function plus(ip: Ip, distance: bigint): Ip {
  return ipFromValue(familyOf(ip), ip.value + distance);
}

export function rangeContains(range: Range, ip: Ip): boolean {
  return containsIp(range.subnet, ip) && ip.value >= range.start.value && ip.value <= range.end.value;
}

export function findRange(set: RangeSet, ip: Ip): Range | undefined {
  return set.find((range) => rangeContains(range, ip));
}

function rangesOverlap(a: Range, b: Range): boolean {
  const hasEndOf = (x: Range, y: Range) => rangeContains(x, y.start) || rangeContains(x, y.end);
  return hasEndOf(a, b) || hasEndOf(b, a);
}

/** "10.1.2.1-10.1.2.254" */
export function formatRange({start, end}: Range): string {
  return `${formatIp(start)}-${formatIp(end)}`;
}

/** "10.1.2.1-10.1.2.254,10.1.3.1-10.1.3.254" */
export function formatRangeSet(set: RangeSet): string {
  return set.map(formatRange).join(',');
}

/** How many addresses a set can give: all but the gateways. */
export function sizeOf(set: RangeSet): bigint {
  return set.reduce((sum, range) => {
    const gateway = rangeContains(range, range.gateway) ? 1n : 0n;
    return sum + range.end.value - range.start.value + 1n - gateway;
  }, 0n);
}
