import {eachAttribute, putAttribute, type Values} from '../attrs.ts';
import {bytes, string} from '../codec.ts';
import {Flag, type Reply} from '../message.ts';
import type {RouteSocket} from '../route/socket.ts';
import {rtmTc, tca, tcmsg} from './common.ts';
import {formatHandle} from './handle.ts';
import {u32Filter} from './u32.ts';

/** linux/if_ether.h: what a filter looks at. */
export const protocols = {all: 0x0003, ipv4: 0x0800, ipv6: 0x86dd} as const;

/** How a filter chooses packets. */
export type FilterInfo =
  | {readonly kind: 'u32'; readonly options: Values<typeof u32Filter.table>}
  | {readonly kind: 'other'; readonly name: string; readonly raw?: Uint8Array | undefined};

export interface Filter {
  readonly ifindex: number;
  /** The qdisc it belongs to. */
  readonly parent: number;
  /** Lower ones are asked first. All filters of one priority have one protocol. */
  readonly priority: number;
  readonly protocol: number;
  readonly info: FilterInfo;
}

type NewFilter = Filter & {readonly info: {readonly kind: 'u32'}; readonly link: string};

/** Adds a filter behind those of its priority. */
export function addFilter(rt: RouteSocket, filter: NewFilter): Promise<void> {
  const {ifindex, parent, priority, protocol, info, link} = filter;
  return rt.request({
    type: rtmTc.newFilter,
    flags: Flag.create | Flag.exclusive,
    body(w) {
      tcmsg.putPart(w, {ifindex, parent, info: ((priority << 16) | swap(protocol)) >>> 0});
      putAttribute(w, tca.kind, string, info.kind);
      putAttribute(w, tca.options, u32Filter, info.options);
    },
    what: `add filter ${info.kind} to ${formatHandle(parent)} of ${link}`,
  });
}

/** The filters of one qdisc, in the order in which they are asked; the kernel does the choosing. ENOENT or EINVAL without the qdisc. */
export function listFilters(
  rt: RouteSocket,
  {ifindex, parent}: {readonly ifindex: number; readonly parent: number},
): Promise<Filter[]> {
  return rt.dump(
    {
      type: rtmTc.getFilter,
      body: (w) => tcmsg.putPart(w, {ifindex, parent}),
      what: `list filters of ${formatHandle(parent)} of link ${ifindex}`,
    },
    (reply) => {
      const filter = readFilter(reply);
      return filter.ifindex === ifindex && !isBookkeeping(filter) ? filter : undefined;
    },
  );
}

/** RTM_NEWTFILTER, as an answer. */
export function readFilter({buffer, start, end}: Pick<Reply, 'buffer' | 'start' | 'end'>): Filter {
  const {ifindex, parent, info} = tcmsg.get(buffer, start, end);
  let kind = '';
  let place: readonly [number, number] | undefined;
  eachAttribute(buffer, start + tcmsg.size, end, (number, from, to) => {
    if (number === tca.kind) kind = string.get(buffer, from, to);
    else if (number === tca.options) place = [from, to];
  });
  const known: FilterInfo =
    kind === 'u32'
      ? {kind, options: place ? u32Filter.get(buffer, ...place) : {}}
      : {kind: 'other', name: kind, raw: place && bytes.get(buffer, ...place)};
  return {ifindex, parent, priority: info >>> 16, protocol: swap(info & 0xffff), info: known};
}

/** A priority's own entry and the hash tables of u32 are listed beside the filters. */
function isBookkeeping({info}: Filter): boolean {
  return info.kind === 'u32' && info.options.match === undefined;
}

/** A protocol travels in network byte order. */
function swap(value: number): number {
  return ((value & 0xff) << 8) | (value >>> 8);
}
