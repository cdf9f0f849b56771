import {eachAttribute, putAttribute} from '../attrs.ts';
import {string, type Codec} from '../codec.ts';
import {NetlinkError, isNotFound} from '../error.ts';
import {Flag, type Reply} from '../message.ts';
import type {RouteSocket} from '../route/socket.ts';
import type {Writer} from '../writer.ts';
import {rtmTc, tca, tcmsg} from './common.ts';
import {formatHandle} from './handle.ts';
import {qdiscKinds, readQdiscInfo, type KnownQdiscInfo, type QdiscInfo} from './qdisc/kinds.ts';

/** Where a qdisc is: the link, the place in its tree (lib/netlink/tc/handle.ts) and its own number. */
export interface QdiscRef {
  readonly ifindex: number;
  readonly parent: number;
  readonly handle: number;
}

export interface Qdisc extends QdiscRef {
  readonly info: QdiscInfo;
}

/** Makes a qdisc; EEXIST if the place is taken by one that was not put there by the kernel itself. */
export function addQdisc(
  rt: RouteSocket,
  qdisc: QdiscRef & {readonly info: KnownQdiscInfo; readonly link: string},
): Promise<void> {
  const {info} = qdisc;
  return rt.request({
    type: rtmTc.newQdisc,
    flags: Flag.create | Flag.exclusive,
    body(w) {
      putRef(w, qdisc);
      putAttribute(w, tca.kind, string, info.kind);
      if (info.options !== undefined) {
        putAttribute(w, tca.options, qdiscKinds[info.kind] as Codec<unknown>, info.options);
      }
    },
    what: `add qdisc ${info.kind} ${formatHandle(qdisc.handle)} to ${qdisc.link}`,
  });
}

/** Removes a qdisc with all that hangs on it; tells whether it was there under this number. */
export async function removeQdisc(rt: RouteSocket, ref: QdiscRef): Promise<boolean> {
  try {
    await rt.request({
      type: rtmTc.delQdisc,
      body: (w) => putRef(w, ref),
      what: `remove qdisc ${formatHandle(ref.handle)} of link ${ref.ifindex}`,
    });
    return true;
  } catch (error) {
    if (isNoQdisc(error)) return false;
    throw error;
  }
}

/** The qdisc of that number at that place. Costs the same however many there are. */
export async function findQdisc(rt: RouteSocket, ref: QdiscRef): Promise<Qdisc | undefined> {
  try {
    return await rt.get(
      {
        type: rtmTc.getQdisc,
        // Kernels before 6.13 tell everybody but who asked unless they are asked for an echo.
        flags: Flag.echo,
        body: (w) => putRef(w, ref),
        what: `get qdisc ${formatHandle(ref.handle)} of link ${ref.ifindex}`,
      },
      readQdisc,
    );
  } catch (error) {
    if (isNoQdisc(error)) return undefined;
    throw error;
  }
}

/** Those of one link, also the ones that the kernel put there (handle 0). The kernel lists all links: see `findQdisc`. */
export function listQdiscs(rt: RouteSocket, {ifindex}: {readonly ifindex: number}): Promise<Qdisc[]> {
  return rt.dump(
    {type: rtmTc.getQdisc, body: (w) => tcmsg.putPart(w, {ifindex}), what: `list qdiscs of link ${ifindex}`},
    (reply) => {
      const qdisc = readQdisc(reply);
      return qdisc.ifindex === ifindex ? qdisc : undefined;
    },
  );
}

function putRef(w: Writer, {ifindex, parent, handle}: QdiscRef): void {
  tcmsg.putPart(w, {ifindex, parent, handle});
}

/** RTM_NEWQDISC, as an answer. */
export function readQdisc({buffer, start, end}: Pick<Reply, 'buffer' | 'start' | 'end'>): Qdisc {
  const {ifindex, parent, handle} = tcmsg.get(buffer, start, end);
  let kind = '';
  let options: readonly [number, number] | undefined;
  eachAttribute(buffer, start + tcmsg.size, end, (number, from, to) => {
    if (number === tca.kind) kind = string.get(buffer, from, to);
    else if (number === tca.options) options = [from, to];
  });
  return {ifindex, parent, handle, info: readQdiscInfo(kind, buffer, options)};
}

/** EINVAL: another number is at the place, or none ("Invalid handle"). */
function isNoQdisc(error: unknown): boolean {
  return isNotFound(error) || (error instanceof NetlinkError && error.code === 'EINVAL');
}
