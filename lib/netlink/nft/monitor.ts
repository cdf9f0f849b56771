import {attrs} from '../attrs.ts';
import {string, u32be} from '../codec.ts';
import type {NetlinkError} from '../error.ts';
import type {Reply} from '../message.ts';
import {NetlinkSocket} from '../socket.ts';
import {messages} from './operation.ts';

// linux/netfilter/nfnetlink.h
const nfnetlinkNftables = 7;
const subsystem = 10;
const netlinkNetfilter = 12;
const headerSize = 4;
const reopenMs = 200;

/** The name of the table is the first attribute of every object but a table, whose own name it is. */
const namedAttrs = attrs({table: [1, string]});
/** enum nft_gen_attributes. */
const generationAttrs = attrs({id: [1, u32be], pid: [2, u32be], name: [3, string]});

const newGeneration = 15;
const deletions: ReadonlySet<number> = new Set([
  messages.deleteTable,
  messages.deleteChain,
  messages.deleteRule,
  messages.deleteSet,
  messages.deleteElements,
]);

/** A transaction that removed something. */
export interface NftRemoval {
  /** The names of the tables it removed, or removed something of, in any family. */
  readonly tables: ReadonlySet<string>;
  /** What the kernel knows the thread by that asked for it, at most 15 characters: "nft", and "MainThread" of Node. */
  readonly thread: string;
}

export interface NftMonitorOptions {
  readonly onRemoval: (removal: NftRemoval) => void;
  /** Transactions were missed, or may have been. */
  readonly onResync: (error: NetlinkError) => void;
  /** Runs the opening of a socket in the namespace that is to be heard of; by default the thread's own. */
  readonly inNamespace?: <T>(open: () => T) => T;
  /** Bytes the kernel may have queued for us (4 MiB). */
  readonly receiveBufferBytes?: number;
}

/**
 * Hears of what is removed from nftables in a namespace. When it could not keep up it says so, and listens on with a new
 * socket. It does not keep the process alive.
 */
export class NftMonitor {
  readonly #options: NftMonitorOptions;
  #socket: NetlinkSocket | undefined;
  #reopening: NodeJS.Timeout | undefined;
  #closed = false;
  /** Of the transaction that is being told of. */
  #tables = new Set<string>();

  /** Throws when the socket cannot be opened. */
  constructor(options: NftMonitorOptions) {
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
    const {inNamespace = (open) => open(), receiveBufferBytes = 1 << 22} = this.#options;
    this.#tables = new Set();
    const socket = inNamespace(
      () =>
        new NetlinkSocket({
          protocol: netlinkNetfilter,
          onNotification: (reply) => this.#read(reply),
          onError: (error) => this.#reopen(error),
          receiveBufferBytes,
        }),
    );
    socket.join(nfnetlinkNftables);
    this.#socket = socket;
  }

  #read({type, buffer, start, end}: Reply): void {
    if (type >> 8 !== subsystem) return;
    const message = type & 0xff;
    const body = start + headerSize;
    if (deletions.has(message)) {
      this.#tables.add(namedAttrs.get(buffer, body, end).table ?? '');
      return;
    }
    // Comes behind everything that a transaction changed.
    if (message !== newGeneration) return;
    const tables = this.#tables;
    if (tables.size === 0) return;
    this.#tables = new Set();
    const {name = ''} = generationAttrs.get(buffer, body, end);
    this.#options.onRemoval({tables, thread: name});
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
