import type {Host} from '../../lib/host.ts';
import {listFilters, type Filter} from '../../lib/netlink/tc/filter.ts';
import type {PlannedFilter} from './subnets.ts';

/** A filter that is there: one that could have been planned, or words for one that could not. */
export type FoundFilter = PlannedFilter | {readonly strange: string};

/** How a filter shows that what it matches is limited: by the class, or by the link that it is handed to. */
export type LimitedBy = {readonly limitedClass: number} | {readonly redirectedTo: number};

/** The filters of a qdisc in the terms of a plan. */
export async function listPlanned(
  host: Host,
  qdisc: {readonly ifindex: number; readonly parent: number},
  limitedBy: LimitedBy,
): Promise<readonly FoundFilter[]> {
  const filters = await listFilters(host.rt, qdisc);
  return filters.map((filter) => asPlanned(filter, limitedBy));
}

function asPlanned(filter: Filter, limitedBy: LimitedBy): FoundFilter {
  const {info, priority, protocol} = filter;
  if (info.kind !== 'u32' || !info.options.match) {
    return {strange: `${info.kind === 'other' ? info.name : info.kind} of priority ${priority}`};
  }
  const {match, classId} = info.options;
  if ('limitedClass' in limitedBy) {
    return {priority, protocol, match, limited: classId === limitedBy.limitedClass};
  }
  const target = redirectTarget(filter);
  if (target !== undefined && target !== limitedBy.redirectedTo) {
    const link = target === 0 ? 'a link that is gone' : `link ${target}`;
    return {strange: `u32 of priority ${priority} that redirects to ${link}`};
  }
  return {priority, protocol, match, limited: target !== undefined};
}

/** The ifindex of the link that a filter hands packets to, 0 when that link is gone; `undefined` if it does not. */
export function redirectTarget({info}: Filter): number | undefined {
  if (info.kind !== 'u32') return undefined;
  const [first] = info.options.actions ?? [];
  return first?.kind === 'mirred' ? first.options.parms?.ifindex : undefined;
}

/** What is missing and what is too many, in words. `where` names the link. */
export function diffFilters(
  wanted: readonly PlannedFilter[],
  found: readonly FoundFilter[],
  where: string,
): readonly string[] {
  const left = found.map((each) => ('strange' in each ? each.strange : label(each)));
  const missing = wanted.map(label).filter((each) => {
    const at = left.indexOf(each);
    if (at >= 0) left.splice(at, 1);
    return at < 0;
  });
  return [
    ...missing.map((each) => `filter missing on ${where}: ${each}`),
    ...left.map((each) => `filter too many on ${where}: ${each}`),
  ];
}

/** As tc shows it: "u32 of priority 1, protocol 800: match 0a000000/ff000000 at 16". */
function label({priority, protocol, match, limited}: PlannedFilter): string {
  const hex = (value: number) => value.toString(16).padStart(8, '0');
  const keys = match.keys.map(({mask, value, offset}) => `match ${hex(value)}/${hex(mask)} at ${offset}`);
  const does = limited ? 'limited' : 'not limited';
  return `u32 of priority ${priority}, protocol ${protocol.toString(16)}: ${keys.join(' ')}, ${does}`;
}
