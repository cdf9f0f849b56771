import {ifinfomsg} from '../../lib/netlink/link/common.ts';
import type {NetlinkError} from '../../lib/netlink/error.ts';
import {headerSize, type Reply} from '../../lib/netlink/message.ts';
import {linkMessage} from '../../lib/netlink/route/link.ts';
import {rtm} from '../../lib/netlink/route/socket.ts';
import {NetlinkSocket} from '../../lib/netlink/socket.ts';
import type {Logger} from '../../lib/log.ts';

/** Who is told of what the kernel tells; every call is cheap or debounced. */
export interface KernelListener {
  /** A link was made, changed or removed. */
  onLink(link: {readonly ifindex: number; readonly name: string; readonly isGone: boolean}): void;
  /** An address came or went. */
  onAddress(ifindex: number): void;
  /** RTM_*NEIGH or RTM_*ROUTE, whole. */
  onEntry(reply: Reply): void;
  /** A default route came or went. */
  onDefaultRoute(): void;
  /** The table with this name of nftables lost something. */
  onFirewall(table: string): void;
  /** Messages were lost: anything may have changed. */
  onLost(): void;
}

// linux/netlink.h, linux/rtnetlink.h (RTNLGRP_*)
const netlinkRoute = 0;
const routeGroups = {link: 1, neighbours: 3, addresses4: 5, routes4: 7, addresses6: 9, routes6: 11};
// linux/netlink.h, linux/netfilter/nfnetlink.h (NFNLGRP_NFTABLES, NFNL_SUBSYS_NFTABLES)
const netlinkNetfilter = 12;
const firewallGroup = 7;
const nftables = 10;
// linux/netfilter/nf_tables.h, enum nf_tables_msg_types: what takes something away
const removals: ReadonlySet<number> = new Set([2, 5, 8, 11, 14]);
/** sizeof(struct nfgenmsg) */
const nfgenmsgSize = 4;
const enobufs = 105;
const tableMain = 254;

/** Listens to what changes in the agent's own network namespace. Opens its sockets anew after they were overrun. */
export class KernelWatch {
  readonly #listener: KernelListener;
  readonly #log: Logger;
  readonly #onOverrun: () => void;
  #sockets: NetlinkSocket[] = [];
  #route: NetlinkSocket | undefined;
  #quiet = 0;
  #closed = false;

  constructor(
    listener: KernelListener,
    {log, onOverrun}: {readonly log: Logger; readonly onOverrun: () => void},
  ) {
    this.#listener = listener;
    this.#log = log;
    this.#onOverrun = onOverrun;
    this.#openRoute();
    this.#openFirewall();
  }

  /**
   * Does something that makes the kernel tell of thousands of things, all of them known, without listening; what others did
   * meanwhile has to be looked for afterwards, of which the listener is told.
   */
  async quietly<T>(work: () => Promise<T>): Promise<T> {
    this.#quiet++;
    this.#route?.close();
    try {
      return await work();
    } finally {
      if (--this.#quiet === 0 && !this.#closed) this.#again(() => this.#openRoute());
    }
  }

  close(): void {
    this.#closed = true;
    for (const socket of this.#sockets) socket.close();
  }

  #openRoute(): void {
    const groups = Object.values(routeGroups);
    this.#route = this.#open(
      netlinkRoute,
      groups,
      (reply) => this.#hear(reply),
      () => this.#openRoute(),
    );
  }

  #openFirewall(): void {
    try {
      this.#open(
        netlinkNetfilter,
        [firewallGroup],
        (reply) => this.#hearFirewall(reply),
        () => this.#openFirewall(),
      );
    } catch (error) {
      this.#log.warn({error}, 'nftables is not listened to; it is looked at by the clock');
    }
  }

  #open(
    protocol: number,
    groups: readonly number[],
    hear: (reply: Reply) => void,
    again: () => void,
  ): NetlinkSocket {
    const socket = new NetlinkSocket({
      protocol,
      onNotification: hear,
      // Thousands of changes in a burst, while this process does something else.
      receiveBufferBytes: 16 << 20,
      onError: (error) => this.#reopen(error, again),
    });
    this.#sockets = [...this.#sockets.filter((each) => !each.closed), socket];
    for (const group of groups) socket.join(group);
    return socket;
  }

  #reopen(error: NetlinkError, again: () => void): void {
    if (this.#closed) return;
    if (error.errno === enobufs) this.#onOverrun();
    this.#log.warn({error}, 'what the kernel told was lost; everything is looked at again');
    this.#again(again);
  }

  #again(open: () => void): void {
    try {
      open();
    } catch (error) {
      this.#log.error({error}, 'the kernel cannot be listened to; it is looked at by the clock');
    }
    this.#listener.onLost();
  }

  #hear(reply: Reply): void {
    const {type, buffer, start, end} = reply;
    switch (type) {
      case rtm.newLink:
      case rtm.delLink: {
        const {ifindex, family} = ifinfomsg.read(buffer, start);
        // Bridges tell of their ports in messages of their own family.
        if (family !== 0) return;
        const {name = ''} = linkMessage.get(buffer, start, end).attributes;
        return this.#listener.onLink({ifindex, name, isGone: type === rtm.delLink});
      }
      case rtm.newAddr:
      case rtm.delAddr:
        return this.#listener.onAddress(buffer.readUInt32LE(start + 4));
      case rtm.newRoute:
      case rtm.delRoute:
        if (buffer[start + 1] === 0 && buffer[start + 4] === tableMain) this.#listener.onDefaultRoute();
        return this.#listener.onEntry(reply);
      case rtm.newNeigh:
      case rtm.delNeigh:
        return this.#listener.onEntry(reply);
      default:
    }
  }

  #hearFirewall({type, buffer, start, end}: Reply): void {
    if (type >> 8 !== nftables || !removals.has(type & 0xff)) return;
    // In all of these messages the table's name is the first attribute.
    const at = start + nfgenmsgSize;
    if (at + 4 > end) return;
    const length = buffer.readUInt16LE(at);
    if (length < 5 || at + length > end || at < headerSize) return;
    this.#listener.onFirewall(buffer.toString('utf8', at + 4, at + length - 1));
  }
}
