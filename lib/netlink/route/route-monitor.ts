import type {NetlinkError} from '../error.ts';
import {ifinfomsg} from '../link/common.ts';
import type {Reply} from '../message.ts';
import {NetlinkSocket} from '../socket.ts';
import {ifaddrmsg} from './address.ts';
import {readLink, type Link} from './link.ts';
import {ndmsg} from './neighbour.ts';
import {readRoute, rtmsg, type Route} from './route.ts';
import {afBridge, afInet, rtm} from './socket.ts';

// linux/rtnetlink.h, enum rtnetlink_groups
const groups = {link: 1, neighbour: 3, address4: 5, route4: 7, address6: 9, route6: 11} as const;
const netlinkRoute = 0;
const reopenMs = 200;

interface Common {
  /** The object was removed. */
  readonly gone: boolean;
  /**
   * The port of the socket that asked for it (`NetlinkSocket.port`); 0 where the kernel did it itself, or does not say:
   * entries of forwarding tables, and links before 6.2.
   */
  readonly port: number;
}

/** A change to the namespace, as far as the header of its message tells; `read` decodes the rest. */
export type RouteEvent = Common &
  (
    | {readonly kind: 'link'; readonly ifindex: number; readonly read: () => Link}
    | {readonly kind: 'address'; readonly ifindex: number; readonly family: 4 | 6}
    /** `bridge`: of a forwarding table. */
    | {
        readonly kind: 'neighbour';
        readonly ifindex: number;
        readonly bridge: boolean;
        /** NUD_* */
        readonly state: number;
      }
    | {
        readonly kind: 'route';
        readonly family: 4 | 6;
        readonly table: number;
        /** RTPROT_* */
        readonly protocol: number;
        readonly read: () => Route | undefined;
      }
  );

/** What can be heard of. */
export type RouteGroup = keyof typeof groups;

export interface RouteMonitorOptions {
  /** What is heard of; everything by default. */
  readonly groups?: readonly RouteGroup[];
  readonly onEvent: (event: RouteEvent) => void;
  /** Events were lost, or may have been: whoever counts on them has to look at everything again. */
  readonly onResync: (error: NetlinkError) => void;
  /** Runs the opening of a socket in the namespace that is to be heard of; by default the thread's own. */
  readonly inNamespace?: <T>(open: () => T) => T;
  /** Bytes the kernel may have queued for us (4 MiB). */
  readonly receiveBufferBytes?: number;
}

/**
 * Hears of all changes to links, addresses, routes, neighbours and forwarding tables of a namespace. When it could not
 * keep up it says so, and listens on with a new socket. It does not keep the process alive.
 */
export class RouteMonitor {
  readonly #options: RouteMonitorOptions;
  #socket: NetlinkSocket | undefined;
  #reopening: NodeJS.Timeout | undefined;
  #closed = false;

  /** Throws when the socket cannot be opened. */
  constructor(options: RouteMonitorOptions) {
    this.#options = options;
    this.#open();
  }

  close(): void {
    this.#closed = true;
    clearTimeout(this.#reopening);
    this.#socket?.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }

  #open(): void {
    const {inNamespace = (open) => open(), receiveBufferBytes = 1 << 22, onEvent} = this.#options;
    const socket = inNamespace(
      () =>
        new NetlinkSocket({
          protocol: netlinkRoute,
          onNotification: (reply) => {
            const event = readEvent(reply);
            if (event) onEvent(event);
          },
          onError: (error) => this.#reopen(error),
          receiveBufferBytes,
        }),
    );
    for (const group of this.#options.groups ?? (Object.keys(groups) as RouteGroup[]))
      socket.join(groups[group]);
    this.#socket = socket;
  }

  /** What comes between two sockets is lost as well, so the word is given when the new one listens. */
  #reopen(error: NetlinkError): void {
    if (this.#closed) return;
    try {
      this.#open();
    } catch {
      // No descriptor is free, say: later there may be.
      this.#reopening = setTimeout(() => this.#reopen(error), reopenMs).unref();
      return;
    }
    this.#options.onResync(error);
  }
}

function readEvent(reply: Reply): RouteEvent | undefined {
  const {type, buffer, start} = reply;
  // The last field of struct nlmsghdr, right in front of the body.
  const port = buffer.readUInt32LE(start - 4);
  switch (type) {
    case rtm.newLink:
    case rtm.delLink: {
      const {ifindex, family} = ifinfomsg.read(buffer, start);
      // Bridges tell of their ports in messages of their own family, which lack most of a link.
      if (family !== 0) return undefined;
      return {kind: 'link', gone: type === rtm.delLink, port, ifindex, read: () => readLink(reply)};
    }
    case rtm.newAddr:
    case rtm.delAddr: {
      const {ifindex, family} = ifaddrmsg.read(buffer, start);
      return {kind: 'address', gone: type === rtm.delAddr, port, ifindex, family: familyOf(family)};
    }
    case rtm.newNeigh:
    case rtm.delNeigh: {
      const {ifindex, family, state} = ndmsg.read(buffer, start);
      return {
        kind: 'neighbour',
        gone: type === rtm.delNeigh,
        port,
        ifindex,
        bridge: family === afBridge,
        state,
      };
    }
    case rtm.newRoute:
    case rtm.delRoute: {
      const {family, table, protocol} = rtmsg.read(buffer, start);
      const read = () => readRoute(buffer, start, reply.end);
      const gone = type === rtm.delRoute;
      return {kind: 'route', gone, port, family: familyOf(family), table, protocol, read};
    }
    default:
      return undefined;
  }
}

function familyOf(family: number): 4 | 6 {
  return family === afInet ? 4 : 6;
}
