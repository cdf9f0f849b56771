import {NetlinkError} from '../error.ts';
import {ifinfomsg} from '../link/common.ts';
import type {Reply} from '../message.ts';
import {NetlinkSocket} from '../socket.ts';
import {findLink, readLink, type Link} from './link.ts';
import {rtm, type RouteSocket} from './socket.ts';

// linux/rtnetlink.h
const groupLink = 1;
const netlinkRoute = 0;

type Listener = (link: Link | undefined) => void;

/**
 * Hears of every change to the links of the namespace it is opened in. Costs nothing but the reading of a header for
 * links nobody waits for.
 */
export class LinkMonitor {
  readonly #listeners = new Map<number, Set<Listener>>();
  readonly #failed = new Set<(error: NetlinkError) => void>();
  readonly #socket: NetlinkSocket;

  constructor({receiveBufferBytes = 1 << 22}: {readonly receiveBufferBytes?: number} = {}) {
    this.#socket = new NetlinkSocket({
      protocol: netlinkRoute,
      onNotification: (reply) => this.#hear(reply),
      onError: (error) => {
        for (const fail of this.#failed) fail(error);
      },
      receiveBufferBytes,
    });
    this.#socket.join(groupLink);
  }

  get closed(): boolean {
    return this.#socket.closed;
  }

  close(): void {
    this.#socket.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }

  /** Calls `onChange` with every new state of the link, `undefined` once it is gone, until the result is called. */
  watch(ifindex: number, onChange: Listener, onError: (error: NetlinkError) => void): () => void {
    const listeners = this.#listeners.get(ifindex) ?? new Set();
    this.#listeners.set(ifindex, listeners.add(onChange));
    this.#failed.add(onError);
    this.#socket.hold(true);
    return () => {
      listeners.delete(onChange);
      if (listeners.size === 0) this.#listeners.delete(ifindex);
      this.#failed.delete(onError);
      this.#socket.hold(this.#listeners.size > 0);
    };
  }

  #hear(reply: Reply): void {
    const {ifindex, family} = ifinfomsg.read(reply.buffer, reply.start);
    const listeners = this.#listeners.get(ifindex);
    // Bridges tell of their ports in messages of their own family, which lack most of a link.
    if (!listeners || family !== 0) return;
    const link = reply.type === rtm.newLink ? readLink(reply) : undefined;
    for (const listener of listeners) listener(link);
  }
}

/**
 * Waits until the link is as `until` wants it, without asking again and again. Resolves with its last state when the
 * deadline comes first (`reached: false`), with `link: undefined` when it is gone.
 */
export async function waitForLink(
  {rt, monitor}: {readonly rt: RouteSocket; readonly monitor: LinkMonitor},
  {ifindex}: {readonly ifindex: number},
  {until, timeoutMs}: {readonly until: (link: Link) => boolean; readonly timeoutMs: number},
): Promise<{readonly reached: boolean; readonly link: Link | undefined}> {
  const {promise, resolve, reject} = Promise.withResolvers<{reached: boolean; link: Link | undefined}>();
  // Whoever fails first is reported; the other must not count as unhandled.
  promise.catch(() => {});
  let last: Link | undefined;
  const look = (link: Link | undefined) => {
    last = link;
    if (!link || until(link)) resolve({reached: link !== undefined, link});
  };
  const timer = setTimeout(() => resolve({reached: false, link: last}), timeoutMs);
  const stop = monitor.watch(ifindex, look, reject);
  try {
    // Only now that changes are heard: one in between would be missed.
    look(await findLink(rt, {ifindex}));
    return await promise;
  } finally {
    clearTimeout(timer);
    stop();
  }
}
