import {bitsOf, familyOf, ipFromValue} from '../../../lib/ip/address.ts';
import {overlap, sameCidr, subnetOf, type Cidr} from '../../../lib/ip/cidr.ts';
import type {Division, FlannelConfig} from '../flannel-config.ts';

// As many as flannel chooses from: with chance among them two hosts that start together rarely want the same.
const candidates = 100;

/**
 * A subnet of each family that nobody has, by chance among the first that are free. Those in `spared` (of hosts that are
 * away, and will want theirs back) are taken only when nothing else is left. Undefined when the network is full.
 */
export function chooseSubnets(
  {divisions}: Pick<FlannelConfig, 'divisions'>,
  {taken, spared}: {readonly taken: readonly Cidr[]; readonly spared: readonly Cidr[]},
  random: () => number = Math.random,
): readonly Cidr[] | undefined {
  const chosen: Cidr[] = [];
  for (const division of divisions) {
    const free = freeSubnets(division, [...taken, ...spared]);
    const some = free.length > 0 ? free : freeSubnets(division, taken);
    const one = some[Math.floor(random() * some.length)];
    if (one === undefined) return undefined;
    chosen.push(one);
  }
  return chosen;
}

function freeSubnets({range, length, first, last}: Division, taken: readonly Cidr[]): Cidr[] {
  const family = familyOf(range.ip);
  const shift = BigInt(bitsOf(family) - length);
  // By number of the subnet: what is larger than a subnet takes several, what is smaller takes one.
  const spans = taken
    .filter(({ip}) => familyOf(ip) === family)
    .map(({ip, prefix}) => {
      const from = ip.value >> shift;
      return {from, to: prefix >= length ? from : from + (1n << BigInt(length - prefix)) - 1n};
    })
    .sort((a, b) => (a.from < b.from ? -1 : a.from > b.from ? 1 : 0));
  const free: Cidr[] = [];
  let at = 0;
  for (let number = first >> shift; number <= last >> shift && free.length < candidates; number++) {
    while (at < spans.length && spans[at]!.to < number) at++;
    const span = spans[at];
    if (span !== undefined && span.from <= number) {
      number = span.to;
      continue;
    }
    free.push({ip: ipFromValue(family, number << shift), prefix: length});
  }
  return free;
}

/** Whether a host may have these: one of each family, of the right length, within what may be given. */
export function fits({divisions}: Pick<FlannelConfig, 'divisions'>, subnets: readonly Cidr[]): boolean {
  return (
    subnets.length === divisions.length &&
    divisions.every(({range, length, first, last}) =>
      subnets.some(
        (subnet) =>
          familyOf(subnet.ip) === familyOf(range.ip) &&
          subnet.prefix === length &&
          sameCidr(subnet, subnetOf(subnet)) &&
          subnet.ip.value >= first &&
          subnet.ip.value <= last,
      ),
    )
  );
}

/** Whether none of them has an address of one that is taken. */
export function areFree(subnets: readonly Cidr[], taken: readonly Cidr[]): boolean {
  return !subnets.some((subnet) => taken.some((other) => overlap(subnet, other)));
}
