import {CniError, errorCodes} from '../../lib/cni/error.ts';
import {allDone} from '../../lib/cni/every.ts';
import type {Host} from '../../lib/host.ts';
import {isExists} from '../../lib/netlink/error.ts';
import type {Link} from '../../lib/netlink/route/link.ts';
import {addHtbClass, listHtbClasses} from '../../lib/netlink/tc/class.ts';
import {addFilter} from '../../lib/netlink/tc/filter.ts';
import {formatHandle, makeHandle, root} from '../../lib/netlink/tc/handle.ts';
import {addQdisc, findQdisc, listQdiscs, removeQdisc, type Qdisc} from '../../lib/netlink/tc/qdisc.ts';
import {htbVersion} from '../../lib/netlink/tc/qdisc/htb.ts';
import {kindName, type KnownQdiscInfo} from '../../lib/netlink/tc/qdisc/kinds.ts';
import {missingFeature} from './features.ts';
import {diffFilters, listPlanned} from './filters.ts';
import {isBufferOf, planShape, rateFields, type Limit, type Shape} from './plan.ts';
import {planSubnetFilters, type Selection} from './subnets.ts';

/** What holds back all that leaves by a link, or what of it is selected by the address it comes from. */
export interface Shaper {
  readonly link: Link;
  readonly limit: Limit;
  readonly selection: Selection;
  /** For messages: "ingress" or "egress". */
  readonly direction: 'ingress' | 'egress';
}

// The reference's number; the class and its queue exist only with subnets.
const handle = makeHandle(1);
const classId = makeHandle(1, 1);
const queue = makeHandle(2);
// The longest packet that a veth hands over in one piece, twice: a shorter queue could drop each of them.
const twoLongest = 2 * 65_536;
// Of no effect with a single class, but a rate above 16 Mbit/s without it makes the kernel complain in its log.
const quantum = 1514;

function ref({link}: Shaper) {
  return {ifindex: link.ifindex, parent: root, handle};
}

/**
 * Puts a token bucket in the place of the link's queue. `later` is told how to take it back, before anything is done.
 * What an ADD of the same limits made before is left as it is; anything else in the place is an error.
 */
export async function ensureShaper(
  host: Host,
  shaper: Shaper,
  later: (what: string, step: () => Promise<unknown>) => void,
): Promise<void> {
  const {link, selection} = shaper;
  let isOurs = true;
  later(
    `remove the limit of "${link.name}"`,
    async () => isOurs && (await removeQdisc(host.rt, ref(shaper))),
  );
  const info = planRoot(shaper);
  try {
    await addQdisc(host.rt, {...ref(shaper), info, link: link.name});
  } catch (error) {
    if (isExists(error)) {
      isOurs = false;
      if ((await diffShaper(host, shaper)).length === 0) return;
      throw await conflict(host, shaper);
    }
    throw (
      missingFeature(error, info.kind === 'tbf' ? 'tbf' : 'htb') ?? new Error('create qdisc', {cause: error})
    );
  }
  if (selection.kind !== 'all') await addClass(host, shaper);
}

function planRoot({limit, selection}: Shaper): KnownQdiscInfo & {readonly kind: 'tbf' | 'htb'} {
  if (selection.kind !== 'all') {
    // What no filter knows goes to this class, or unlimited past all of them.
    const defaultClass = selection.kind === 'except' ? classId & 0xffff : 0;
    const init = {version: htbVersion, rateToQuantum: 10, defaultClass, debug: 0, directPackets: 0};
    return {kind: 'htb', options: {init}};
  }
  const shape = planShape(limit);
  const {rate, rate64} = rateFields(shape);
  const none = {...rate, rate: 0};
  const parms = {rate, peakRate: none, limit: shape.limitBytes, buffer: shape.bufferTicks, mtu: 0};
  return {kind: 'tbf', options: {parms, rate64}};
}

async function addClass(host: Host, shaper: Shaper): Promise<void> {
  const {link, limit, selection} = shaper;
  const {ifindex, name} = link;
  const shape = planShape(limit);
  const {rate, rate64} = rateFields(shape);
  const buffer = shape.bufferTicks;
  const parms = {rate, ceil: rate, buffer, ceilBuffer: buffer, quantum, level: 0, priority: 0};
  const options = {parms, rate64, ceil64: rate64};
  const info = {kind: 'bfifo', options: {limit: queueBytes(shape)}} as const;
  const filters = planSubnetFilters(selection, 'source').map(({limited, match, ...rest}) =>
    addFilter(host.rt, {
      ifindex,
      parent: handle,
      link: name,
      ...rest,
      // The qdisc's own number instead of a class: past all classes.
      info: {kind: 'u32', options: {classId: limited ? classId : handle, match}},
    }).catch((error: unknown) => {
      throw missingFeature(error, 'u32') ?? error;
    }),
  );
  await allDone([
    addHtbClass(host.rt, {ifindex, parent: handle, handle: classId, options, link: name}),
    addQdisc(host.rt, {ifindex, parent: classId, handle: queue, info, link: name}),
    ...filters,
  ]);
}

function queueBytes({limitBytes}: Shape): number {
  return Math.max(limitBytes, twoLongest);
}

/** What is missing or different, in words; the first word of the reference's sentences where it has one. */
export async function diffShaper(host: Host, shaper: Shaper): Promise<readonly string[]> {
  const {link, limit, selection, direction} = shaper;
  const found = await findQdisc(host.rt, ref(shaper));
  const kind = selection.kind === 'all' ? 'tbf' : 'htb';
  if (found?.info.kind !== kind) {
    const there = found ? `, there is ${describe(found)}` : '';
    return [
      `Failed to find qdisc: ${kind} ${formatHandle(handle)} on "${link.name}" for the limit of ${direction}${there}`,
    ];
  }
  const shape = planShape(limit);
  if (found.info.kind === 'tbf') {
    const {parms, rate64} = found.info.options ?? {};
    return [
      ...diffRate(shaper, shape, {rate: rate64 ?? parms?.rate.rate, buffer: parms?.buffer}),
      ...diffNumber(shaper, 'Limit', parms?.limit, shape.limitBytes),
    ];
  }
  const classes = await listHtbClasses(host.rt, {ifindex: link.ifindex});
  const options = classes.find((each) => each.handle === classId)?.options;
  if (!options) return [`class ${formatHandle(classId)} of "${link.name}" is missing`];
  const leaf = await findQdisc(host.rt, {ifindex: link.ifindex, parent: classId, handle: queue});
  const filters = await listPlanned(host, {ifindex: link.ifindex, parent: handle}, {limitedClass: classId});
  return [
    ...diffRate(shaper, shape, {
      rate: options.rate64 ?? options.parms?.rate.rate,
      buffer: options.parms?.buffer,
    }),
    ...(leaf ? [] : [`the queue of class ${formatHandle(classId)} of "${link.name}" is missing`]),
    ...diffFilters(planSubnetFilters(selection, 'source'), filters, `"${link.name}"`),
  ];
}

function diffRate(
  shaper: Shaper,
  shape: Shape,
  {rate, buffer}: {readonly rate: bigint | number | undefined; readonly buffer: number | undefined},
): readonly string[] {
  return [
    ...diffNumber(shaper, 'Rate', rate === undefined ? undefined : Number(rate), shape.rateBytesPerSecond),
    ...(buffer !== undefined && isBufferOf(shape, buffer)
      ? []
      : diffNumber(shaper, 'Buffer', buffer, shape.bufferTicks)),
  ];
}

const units = {Rate: 'bytes/s', Limit: 'bytes', Buffer: 'ticks'} as const;

function diffNumber(
  {link, direction}: Shaper,
  what: keyof typeof units,
  found: number | undefined,
  wanted: number,
): readonly string[] {
  if (found === wanted) return [];
  const unit = units[what];
  return [
    `${what} doesn't match: "${link.name}" has ${found ?? 'no'} ${unit}, the limit of ${direction} asks for ${wanted}`,
  ];
}

async function conflict(host: Host, {link, direction}: Shaper): Promise<Error> {
  const there = (await listQdiscs(host.rt, link)).find((each) => each.parent === root);
  return new CniError(
    errorCodes.internal,
    `create qdisc: file exists: "${link.name}" has ${there ? describe(there) : 'a qdisc'} at its root already`,
    `the limit of ${direction} needs that place; if nobody needs what is there: tc qdisc del dev ${link.name} root; ` +
      `if another tool limits this container: leave ${direction}Rate and ${direction}Burst out`,
  );
}

/** "fq 8001:" */
export function describe({info, handle: number}: Qdisc): string {
  return `qdisc ${kindName(info)} ${formatHandle(number)}`;
}
