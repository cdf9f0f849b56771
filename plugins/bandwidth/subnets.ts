import {familyOf, ipBytes} from '../../lib/ip/address.ts';
import {bitsOf} from '../../lib/ip/address.ts';
import type {Cidr} from '../../lib/ip/cidr.ts';
import {protocols} from '../../lib/netlink/tc/filter.ts';
import {matchAll, type U32Match} from '../../lib/netlink/tc/u32.ts';

/** Which traffic a limit is for, by the address at the other end. */
export type Selection =
  | {readonly kind: 'all'}
  | {readonly kind: 'only' | 'except'; readonly subnets: readonly Cidr[]};

/** One filter, whatever link it goes to. */
export interface PlannedFilter {
  readonly priority: number;
  readonly protocol: number;
  readonly match: U32Match;
  /** Whether what matches is limited. */
  readonly limited: boolean;
}

// All filters of one priority have one protocol. The reference's only filter has priority 1, too.
const priorities = {4: 1, 6: 2, rest: 3} as const;

/** Filters for the subnets of a selection; none for 'all'. `side`: where in a packet the other end's address is. */
export function planSubnetFilters(
  selection: Selection,
  side: 'source' | 'destination',
): readonly PlannedFilter[] {
  if (selection.kind === 'all') return [];
  const limited = selection.kind === 'only';
  return selection.subnets.map((cidr) => {
    const family = familyOf(cidr.ip);
    const protocol = family === 4 ? protocols.ipv4 : protocols.ipv6;
    return {priority: priorities[family], protocol, match: matchSubnet(cidr, side), limited};
  });
}

/** As `planSubnetFilters`, and one for the rest where the rest is limited. */
export function planFilters(selection: Selection, side: 'source' | 'destination'): readonly PlannedFilter[] {
  const rest = {protocol: protocols.all, match: matchAll, limited: true};
  if (selection.kind === 'all') return [{priority: 1, ...rest}];
  const subnets = planSubnetFilters(selection, side);
  return selection.kind === 'only' ? subnets : [...subnets, {priority: priorities.rest, ...rest}];
}

// Of the first byte of an address, from the start of the header (RFC 791, RFC 8200).
const places = {4: {source: 12, destination: 16}, 6: {source: 8, destination: 24}} as const;

function matchSubnet({ip, prefix}: Cidr, side: 'source' | 'destination'): U32Match {
  const family = familyOf(ip);
  const address = ipBytes(ip);
  const keys = Array.from({length: bitsOf(family) / 32}, (_, word) => {
    const bits = Math.min(Math.max(prefix - word * 32, 0), 32);
    const mask = bits === 0 ? 0 : (0xffff_ffff << (32 - bits)) >>> 0;
    const value = (address.readUInt32BE(word * 4) & mask) >>> 0;
    return {mask, value, offset: places[family][side] + word * 4};
  }).filter(({mask}) => mask !== 0);
  return keys.length === 0 ? matchAll : {terminal: true, keys};
}
