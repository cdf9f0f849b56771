import {CniError, errorCodes} from '../../lib/cni/error.ts';
import {allDone} from '../../lib/cni/every.ts';
import type {Host} from '../../lib/host.ts';
import {isExists} from '../../lib/netlink/error.ts';
import type {Link} from '../../lib/netlink/route/link.ts';
import {egressRedirect, stolen} from '../../lib/netlink/tc/action/mirred.ts';
import {addFilter, listFilters} from '../../lib/netlink/tc/filter.ts';
import {
  clsactEgress,
  clsactIngress,
  formatHandle,
  ingressParent,
  makeHandle,
} from '../../lib/netlink/tc/handle.ts';
import {addQdisc, findQdisc, listQdiscs, removeQdisc} from '../../lib/netlink/tc/qdisc.ts';
import {missingFeature} from './features.ts';
import {diffFilters, listPlanned, redirectTarget} from './filters.ts';
import {describe} from './shaper.ts';
import {planFilters, type Selection} from './subnets.ts';

/** What a container sends comes in by the host's end of its veth pair, and goes on by the ifb device. */
export interface Redirect {
  readonly port: Link;
  readonly ifb: Link;
  readonly selection: Selection;
}

const handle = makeHandle(0xffff);
// Of no meaning where there are no classes; the reference's.
const classId = makeHandle(1, 1);

function ref({port}: Redirect) {
  return {ifindex: port.ifindex, parent: ingressParent, handle};
}

/** Hands what the container sends, or what of it is selected, to the ifb device. `later` as in ensureShaper. */
export async function addRedirect(
  host: Host,
  redirect: Redirect,
  later: (what: string, step: () => Promise<unknown>) => void,
): Promise<void> {
  const {port, ifb, selection} = redirect;
  let isOurs = true;
  later(
    `remove the redirection of "${port.name}"`,
    async () => isOurs && (await removeQdisc(host.rt, ref(redirect))),
  );
  try {
    await addIngress(host, redirect);
  } catch (error) {
    if (isExists(error)) {
      isOurs = false;
      throw await conflict(host, redirect);
    }
    throw missingFeature(error, 'ingress') ?? new Error('create ingress qdisc', {cause: error});
  }
  const filters = planFilters(selection, 'destination').map(({limited, match, ...rest}) => {
    const options = {classId, match, ...(limited && {actions: [redirectTo(ifb)]})};
    const {ifindex} = port;
    return addFilter(host.rt, {
      ifindex,
      parent: handle,
      link: port.name,
      ...rest,
      info: {kind: 'u32', options},
    });
  });
  try {
    await allDone(filters);
  } catch (error) {
    throw missingFeature(error, 'u32') ?? new Error('add filter', {cause: error});
  }
}

/** One whose filters all lead to a link that is gone is what a DEL left of a veth pair that stayed. */
async function addIngress(host: Host, redirect: Redirect): Promise<void> {
  const {port} = redirect;
  const add = () => addQdisc(host.rt, {...ref(redirect), info: {kind: 'ingress'}, link: port.name});
  try {
    await add();
  } catch (error) {
    if (!isExists(error) || !(await isLeft(host, redirect))) throw error;
    await removeQdisc(host.rt, ref(redirect));
    await add();
  }
}

async function isLeft(host: Host, redirect: Redirect): Promise<boolean> {
  const found = await findQdisc(host.rt, ref(redirect));
  if (found?.info.kind !== 'ingress') return false;
  const filters = await listFilters(host.rt, {ifindex: redirect.port.ifindex, parent: handle});
  const targets = filters.map(redirectTarget).filter((target) => target !== undefined);
  // Beside those of subnets that are not limited, which lead nowhere.
  return (
    targets.length > 0 &&
    targets.every((target) => target === 0) &&
    filters.every(({info}) => info.kind === 'u32')
  );
}

function redirectTo(ifb: Link) {
  const direction = egressRedirect;
  const parms = {index: 0, capab: 0, action: stolen, refcnt: 0, bindcnt: 0, direction, ifindex: ifb.ifindex};
  return {kind: 'mirred', options: {parms}} as const;
}

/** What is missing or different, in words. */
export async function diffRedirect(host: Host, redirect: Redirect): Promise<readonly string[]> {
  const {port, ifb, selection} = redirect;
  const found = await findQdisc(host.rt, ref(redirect));
  if (found?.info.kind !== 'ingress') {
    const there = found ? `, there is ${describe(found)}` : '';
    return [
      `Failed to find qdisc: ingress ${formatHandle(handle)} on "${port.name}" for the limit of egress${there}`,
    ];
  }
  const filters = await listPlanned(
    host,
    {ifindex: port.ifindex, parent: handle},
    {redirectedTo: ifb.ifindex},
  );
  return diffFilters(planFilters(selection, 'destination'), filters, `"${port.name}"`);
}

async function conflict(host: Host, {port}: Redirect): Promise<Error> {
  const there = (await listQdiscs(host.rt, port)).find((each) => each.parent === ingressParent);
  const isClsact = there?.info.kind === 'clsact';
  const parents = isClsact ? [clsactIngress, clsactEgress] : [handle];
  const lists = parents.map((parent) =>
    listFilters(host.rt, {ifindex: port.ifindex, parent}).catch(() => []),
  );
  const filters = (await Promise.all(lists)).flat();
  const kinds = [...new Set(filters.map(({info}) => (info.kind === 'other' ? info.name : info.kind)))];
  return new CniError(
    errorCodes.internal,
    `create ingress qdisc: file exists: "${port.name}" has ${there ? describe(there) : 'one'} already` +
      (kinds.length > 0 ? `, with filters (${kinds.join(', ')})` : ''),
    `the limit of egress needs that place; if nobody needs what is there: tc qdisc del dev ${port.name} ${isClsact ? 'clsact' : 'ingress'}; ` +
      'if another tool (an eBPF network policy, say) works there: leave egressRate and egressBurst out',
  );
}
