import {setTimeout as sleep} from 'node:timers/promises';
import type {Reply} from '../message.ts';
import {isNotFound} from '../error.ts';
import {ifinfomsg} from '../link/common.ts';
import {linkAttributes, linkMessage, setLink} from './link.ts';
import type {Writer} from '../writer.ts';
import {rtm, type RouteSocket} from './socket.ts';

/** The removal of one link. */
export interface LinkRemoval {
  /** The link is down, and nothing goes through it any more; or it cannot be removed. */
  begun(): Promise<void>;
  /** The link is gone, or was not there. */
  gone(): Promise<void>;
}

/** What removes links. */
export interface LinkRemoving {
  remove(ifindex: number): LinkRemoval;
}

interface Waiting {
  readonly ifindex: number;
  readonly begin: () => void;
  readonly resolve: () => void;
  readonly reject: (error: unknown) => void;
}

/** More than these at once, and the kernel would keep others from its lock for long. */
const mostTogether = 256;

/** No more threads than these wait for the kernel: the agent has twice as many. */
const mostUnderWay = 4;
const lookEveryMs = 1;

/**
 * Removes the links of one namespace for calls that happen at the same time. A link is gone, from every list and for every
 * packet, a millisecond after the kernel is asked; then it waits for all processors, 15 ms for one link or for many, before it
 * answers. So another thread waits for that answer, one link is looked for meanwhile, and those that are asked for while the
 * kernel is at work go together, as one group.
 */
export class LinkRemover implements LinkRemoving {
  readonly #socket: () => RouteSocket;
  readonly #mostLooks: number;
  /** Removals of links that are gone, for whose end the kernel still waits. */
  readonly #underWay = new Set<Promise<void>>();
  #waiting: Waiting[] = [];
  #isWorking = false;

  /**
   * `socket` gives an open one whenever it is asked. `mostLooks`: how often a link is looked for before the kernel's answer is
   * waited for. The first look nearly always finds it gone, because the kernel answers one after the other.
   */
  constructor(socket: () => RouteSocket, {mostLooks = 1}: {readonly mostLooks?: number} = {}) {
    this.#socket = socket;
    this.#mostLooks = mostLooks;
  }

  remove(ifindex: number): LinkRemoval {
    const begun = Promise.withResolvers<void>();
    const gone = Promise.withResolvers<void>();
    this.#waiting.push({ifindex, begin: begun.resolve, resolve: gone.resolve, reject: gone.reject});
    if (!this.#isWorking) {
      this.#isWorking = true;
      // Others of this turn of the event loop may join.
      queueMicrotask(() => void this.#work());
    }
    // Whoever asks does so later, or not at all.
    gone.promise.catch(() => {});
    return {begun: () => begun.promise, gone: () => gone.promise};
  }

  async #work(): Promise<void> {
    while (this.#waiting.length > 0) {
      while (this.#underWay.size >= mostUnderWay) await Promise.race(this.#underWay);
      const batch = this.#waiting.slice(0, mostTogether);
      this.#waiting = this.#waiting.slice(mostTogether);
      await this.#removeAll(batch);
    }
    this.#isWorking = false;
  }

  /** Never throws. */
  async #removeAll(batch: readonly Waiting[]): Promise<void> {
    let rest: readonly Waiting[] = batch;
    try {
      if (batch.length > 1) rest = await this.#removeTogether(batch);
    } catch {
      // Whatever was in the way of a group: one by one each has its own answer.
    }
    for (let at = 0; at < rest.length; at += mostUnderWay)
      await Promise.all(rest.slice(at, at + mostUnderWay).map((each) => this.#removeOne(each)));
  }

  /** Never throws. */
  async #removeOne({ifindex, begin, resolve, reject}: Waiting): Promise<void> {
    try {
      const rt = this.#socket();
      const removal = rt.request({
        type: rtm.delLink,
        inBackground: true,
        body: (w) => linkMessage.put(w, {header: {ifindex}, attributes: {}}),
        what: `remove link ${ifindex}`,
      });
      if (!(await this.#isGoneBefore(removal, {rt, ifindex}))) await removal;
      resolve();
    } catch (error) {
      if (isNotFound(error)) resolve();
      else reject(error);
    } finally {
      begin();
    }
  }

  /** Whether a link is gone while the kernel's answer to the removal is still to come. */
  async #isGoneBefore(
    removal: Promise<void>,
    {rt, ifindex}: {readonly rt: RouteSocket; readonly ifindex: number},
  ): Promise<boolean> {
    let isAnswered = false;
    const answered = removal
      .catch(() => {})
      .then(() => {
        isAnswered = true;
        this.#underWay.delete(answered);
      });
    await nextTurn();
    for (let looks = 0; looks < this.#mostLooks && !isAnswered; looks++) {
      if (looks > 0) await Promise.race([answered, sleep(lookEveryMs)]);
      if (!(await isGone(rt, ifindex))) continue;
      // Both may have come at once.
      if (!isAnswered) this.#underWay.add(answered);
      return true;
    }
    return false;
  }

  /** Gives those that have to be removed one by one. */
  async #removeTogether(batch: readonly Waiting[]): Promise<readonly Waiting[]> {
    const rt = this.#socket();
    const group = randomGroup();
    const marked = await Promise.all(
      batch.map(({ifindex}) =>
        setLink(rt, {ifindex}, {group}).then(
          () => true,
          () => false,
        ),
      ),
    );
    const members = batch.filter((_, i) => marked[i]);
    const others = batch.filter((_, i) => !marked[i]);
    // The kernel removes whatever is in the group: somebody else's link may be, if chance or malice gave it that number.
    const inGroup = await listGroup(rt, group);
    const ours = new Set(members.map(({ifindex}) => ifindex));
    if (inGroup.length === 0 || !inGroup.every((ifindex) => ours.has(ifindex))) return batch;
    const removal = rt.request({
      type: rtm.delLink,
      inBackground: true,
      body: (w) => linkMessage.put(w, {attributes: {group}}),
      what: `remove ${inGroup.length} links as group ${group}`,
    });
    // The kernel takes them from the first to the last.
    await this.#isGoneBefore(removal, {rt, ifindex: Math.max(...inGroup)});
    for (const {begin} of members) begin();
    // As for one it would be enough that they are gone; but those who ask meanwhile would go in many small groups.
    await removal;
    const removed = new Set(inGroup);
    // What left the group before the kernel looked is looked for once more.
    const left = members.filter(({ifindex}) => !removed.has(ifindex));
    for (const each of members) if (removed.has(each.ifindex)) each.resolve();
    return [...others, ...left];
  }
}

function nextTurn(): Promise<void> {
  return new Promise((resolve) => void setImmediate(resolve));
}

/** Whether there is no such link any more; `false` also where that cannot be told. */
async function isGone(rt: RouteSocket, ifindex: number): Promise<boolean> {
  // In another thread as well: the kernel answers when it has done what others cannot see half done.
  const question = {
    type: rtm.getLink,
    inBackground: true,
    body: (w: Writer) => linkMessage.put(w, {header: {ifindex}, attributes: {extMask: skipStatistics}}),
    what: `look for link ${ifindex}`,
  };
  try {
    await rt.get(question, () => true);
    return false;
  } catch (error) {
    return isNotFound(error);
  }
}

const lowestGroup = 2 ** 30;

/** Administrators number their groups from 1 (/etc/iproute2/group). */
function randomGroup(): number {
  return lowestGroup + Math.floor(Math.random() * (2 ** 31 - lowestGroup));
}

/** The links of one group. The kernel cannot choose them; of the others only the group is read. */
function listGroup(rt: RouteSocket, group: number): Promise<number[]> {
  return rt.dump(
    {
      type: rtm.getLink,
      body: (w) => linkMessage.put(w, {attributes: {extMask: skipStatistics}}),
      what: `list the links of group ${group}`,
    },
    (reply) =>
      groupOf(reply) === group ? ifinfomsg.get(reply.buffer, reply.start, reply.end).ifindex : undefined,
  );
}

// linux/rtnetlink.h
const skipStatistics = 1 << 3;
const headerSize = 16;
const [groupType] = linkAttributes.table.group;

function groupOf({buffer, start, end}: Reply): number | undefined {
  for (let at = start + headerSize; at + 8 <= end;) {
    if (buffer.readUInt16LE(at + 2) === groupType) return buffer.readUInt32LE(at + 4);
    at += (buffer.readUInt16LE(at) + 3) & ~3 || end;
  }
  return undefined;
}
