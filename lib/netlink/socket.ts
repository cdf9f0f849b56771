import {RawNetlinkSocket} from 'netlink/dist/raw.js';
import {droppedMessages, findNetlinkFd, forceBuffer, nextFd, setSocketOption} from '../netns/native.ts';
import {Writer} from './writer.ts';
import {NetlinkError} from './error.ts';
import {
  Flag,
  headerSize,
  messageType,
  parseAck,
  parseDone,
  type Pending,
  type Reply,
  type Request,
} from './message.ts';

export interface SocketOptions {
  /** NETLINK_ROUTE is 0, NETLINK_NETFILTER 12 (linux/netlink.h). */
  readonly protocol: number;
  /** How long an answer may take; the socket is closed when one does not come. */
  readonly timeoutMs?: number;
  /** Where messages go that answer no request: notifications of the groups joined. */
  readonly onNotification?: (reply: Reply) => void;
  /** Called once when the socket closes itself after an error: it was overrun, or the kernel did not answer. */
  readonly onError?: (error: NetlinkError) => void;
  /** Bytes the kernel may have queued for us; more than the system's limit needs CAP_NET_ADMIN. */
  readonly receiveBufferBytes?: number;
}

/** How one message of a batch fared. */
export interface Outcome {
  readonly error: NetlinkError | undefined;
  readonly replies: readonly Reply[];
}

/** What the functions below route/ and nft/ need of a socket; tests put their own in front of the real one. */
export interface Netlink {
  /** A change: resolves when the kernel acknowledged it. */
  request(request: Request): Promise<void>;
  /** A question with exactly one answer. */
  get<T>(request: Request, decode: (reply: Reply) => T): Promise<T>;
  /** A question with a list as answer; what `decode` returns `undefined` for is left out. */
  dump<T>(request: Request, decode: (reply: Reply) => T | undefined): Promise<T[]>;
  /** Messages that have to arrive as one datagram, in this order (nfnetlink transactions). */
  batch(requests: readonly Request[]): Promise<readonly Outcome[]>;
  close(): void;
}

const solNetlink = 270;
const options = {
  // An overrun would set the socket's error, and the addon ends the process when poll reports one. What was dropped is
  // counted anyway (`droppedMessages`).
  noEnobufs: 5,
  capAck: 10,
  extAck: 11,
  strictCheck: 12,
};
// A datagram this large holds any message the kernel sends: it never puts more than 32 KiB into one buffer of a dump.
const datagramBytes = 32_768;
// Replies to this many requests fit into the receive buffer, whatever they are.
const mostInFlight = 64;
// A datagram is closed to further requests beyond this.
const fullDatagram = 32_768;
// What the smallest send buffer takes; a batch may need more.
const ordinaryDatagram = 131_072;
// What the kernel counts for one acknowledgement, generously.
const answerBytes = 1024;
const dumpAttempts = 20;
const enobufs = 105;
const etimedout = 110;
const eintr = 4;
const ebadf = 9;
const eproto = 71;

interface Datagram {
  readonly writer: Writer;
  readonly pending: Pending[];
  sealed: boolean;
}

/**
 * A netlink socket in the network namespace that the thread is in while it is made, for ever.
 *
 * Requests made in the same turn of the event loop travel in one datagram, and further ones do not wait for the answers
 * of earlier ones; the kernel works on them in order, and one that fails does not stop those behind it. The process
 * may exit while nothing is asked. Every failure is a NetlinkError; after ENOBUFS (messages were lost) or
 * ETIMEDOUT the socket is closed.
 */
export class NetlinkSocket implements Netlink {
  readonly timeoutMs: number;
  readonly #raw: RawNetlinkSocket;
  readonly #fd: number;
  readonly #port: number;
  readonly #receiveBytes: number;
  readonly #options: SocketOptions;
  readonly #pending = new Map<number, Pending>();
  readonly #queue: Datagram[] = [];
  #seq = 0;
  #inFlight = 0;
  #scheduled = false;
  #closed = false;
  #checking = false;
  #held = false;
  #lastDump: Promise<unknown> = Promise.resolve();

  constructor(socketOptions: SocketOptions) {
    this.#options = socketOptions;
    this.timeoutMs = socketOptions.timeoutMs ?? 5000;
    const guess = nextFd();
    // The addon's types ask for both buffer sizes, its code does not.
    this.#raw = new RawNetlinkSocket(socketOptions.protocol, {
      messagePeeking: false,
      msgBufferSize: datagramBytes,
    } as ConstructorParameters<typeof RawNetlinkSocket>[1]);
    this.#raw.unref();
    this.#port = this.#raw.address().port;
    const fd = findNetlinkFd(this.#port, guess);
    if (fd === undefined) {
      this.#raw.close();
      throw new Error('the descriptor of a netlink socket was not found');
    }
    this.#fd = fd;
    for (const name of Object.values(options)) {
      try {
        setSocketOption(fd, {level: solNetlink, name}, 1);
      } catch {
        // Kernels before 4.12 and 4.20 do without: errors have no sentence, filters of dumps are ignored.
      }
    }
    this.#receiveBytes = socketOptions.receiveBufferBytes ?? 1 << 20;
    if (!forceBuffer(fd, 'receive', this.#receiveBytes)) this.#raw.setRecvBufferSize(this.#receiveBytes);
    this.#raw.on('message', (buffer, {port}) => {
      // Port 0 is the kernel; any process may send to us.
      if (port !== 0) return;
      try {
        this.#receive(buffer);
      } catch (error) {
        // Whatever leaves this function ends the process: the addon does not expect it.
        this.#fail('receive', eproto, error instanceof Error ? error.message : String(error));
      }
    });
    this.#raw.on('truncatedMessage', () => this.#fail('receive', enobufs));
    this.#raw.on('error', (error) => this.#fail('receive', Math.abs(error.errno) || ebadf));
  }

  get closed(): boolean {
    return this.#closed;
  }

  /** Joins a multicast group; its messages go to `onNotification`. */
  join(group: number): void {
    this.#raw.addMembership(group);
  }

  /** Keeps the process alive while notifications are waited for. */
  hold(held: boolean): void {
    this.#held = held;
    this.#updateRef();
  }

  request(request: Request): Promise<void> {
    return this.#ask(request, 'ack', Flag.request | Flag.ack).then(() => {});
  }

  get<T>(request: Request, decode: (reply: Reply) => T): Promise<T> {
    // Without NLM_F_ACK: the answer is the acknowledgement, a second one would only be in the way.
    return this.#ask(request, 'get', Flag.request, decode).then((replies) => replies[0] as T);
  }

  dump<T>(request: Request, decode: (reply: Reply) => T | undefined): Promise<T[]> {
    // A socket can have one dump at a time: the kernel answers a second one with EBUSY.
    const turn = this.#lastDump.then(() => this.#dump(request, decode));
    this.#lastDump = turn.catch(() => {});
    return turn;
  }

  async #dump<T>(request: Request, decode: (reply: Reply) => T | undefined): Promise<T[]> {
    for (let attempt = 1; ; attempt++) {
      const pending = this.#enqueue(request, 'dump', Flag.request | Flag.dump, decode);
      const replies = await pending.promise;
      // What was listed changed while it was listed: entries may be missing or twice.
      if (!pending.interrupted) return replies as T[];
      if (attempt === dumpAttempts) {
        throw new NetlinkError(request.what, eintr, {
          message: `the list changed ${attempt} times while it was read`,
        });
      }
      if (attempt > 3) await new Promise((resolve) => setTimeout(resolve, attempt));
    }
  }

  batch(requests: readonly Request[]): Promise<readonly Outcome[]> {
    if (this.#closed) return Promise.reject(this.#closedError(requests[0]?.what ?? 'batch'));
    const datagram: Datagram = {writer: new Writer(4096), pending: [], sealed: true};
    const outcomes: {error: NetlinkError | undefined; replies: readonly Reply[]}[] = [];
    const {promise, resolve} = Promise.withResolvers<readonly Outcome[]>();
    let open = 0;
    for (const request of requests) {
      const outcome: (typeof outcomes)[number] = {error: undefined, replies: []};
      outcomes.push(outcome);
      const acked = ((request.flags ?? 0) & Flag.ack) !== 0;
      const pending = this.#write(datagram, request, 'ack', Flag.request, keep);
      if (acked) open++;
      pending.promise.then(
        (replies) => {
          outcome.replies = replies as Reply[];
          if (acked && --open === 0) finish();
        },
        (error: NetlinkError) => {
          outcome.error = error;
          // A message that asked for no acknowledgement (BATCH_BEGIN) is refused: nothing else will be answered.
          if (!acked || --open === 0) finish();
        },
      );
    }
    const finish = () => {
      for (const pending of datagram.pending) this.#settle(pending);
      resolve(outcomes);
    };
    this.#queue.push(datagram);
    this.#schedule();
    return promise;
  }

  /** Closes at once. Requests under way fail with EBADF. */
  close(): void {
    this.#fail('close', ebadf);
  }

  [Symbol.dispose](): void {
    this.close();
  }

  #ask(
    request: Request,
    kind: Pending['kind'],
    flags: number,
    decode?: Pending['decode'],
  ): Promise<unknown[]> {
    try {
      return this.#enqueue(request, kind, flags, decode).promise;
    } catch (error) {
      return Promise.reject(error as Error);
    }
  }

  #enqueue(request: Request, kind: Pending['kind'], flags: number, decode?: Pending['decode']): Pending {
    if (this.#closed) throw this.#closedError(request.what);
    let datagram = this.#queue.at(-1);
    if (!datagram || datagram.sealed) {
      datagram = {writer: new Writer(), pending: [], sealed: false};
      this.#queue.push(datagram);
    }
    const pending = this.#write(datagram, request, kind, flags, decode);
    datagram.sealed = datagram.pending.length >= mostInFlight || datagram.writer.offset > fullDatagram;
    this.#schedule();
    return pending;
  }

  #write(
    datagram: Datagram,
    request: Request,
    kind: Pending['kind'],
    flags: number,
    decode?: Pending['decode'],
  ): Pending {
    const {writer} = datagram;
    const at = writer.reserve(headerSize);
    try {
      if (typeof request.body === 'function') request.body(writer);
      else if (request.body) writer.append(request.body);
    } catch (error) {
      writer.offset = at;
      throw error;
    }
    this.#seq = (this.#seq % 0xffff_ffff) + 1;
    const seq = this.#seq;
    const {buffer} = writer;
    buffer.writeUInt32LE(writer.offset - at, at);
    buffer.writeUInt16LE(request.type, at + 4);
    buffer.writeUInt16LE(flags | (request.flags ?? 0), at + 6);
    buffer.writeUInt32LE(seq, at + 8);
    buffer.writeUInt32LE(this.#port, at + 12);
    writer.align();
    const {promise, resolve, reject} = Promise.withResolvers<unknown[]>();
    const pending: Pending = {
      seq,
      what: request.what,
      kind,
      decode,
      promise,
      resolve,
      reject,
      replies: [],
      interrupted: false,
      error: undefined,
      timer: undefined,
    };
    datagram.pending.push(pending);
    return pending;
  }

  #schedule(): void {
    if (this.#scheduled) return;
    this.#scheduled = true;
    queueMicrotask(() => {
      this.#scheduled = false;
      this.#pump();
    });
  }

  #pump(): void {
    while (!this.#closed) {
      const datagram = this.#queue[0];
      if (!datagram || (this.#inFlight > 0 && this.#inFlight + datagram.pending.length > mostInFlight))
        return;
      this.#queue.shift();
      this.#send(datagram);
    }
  }

  #send({writer, pending}: Datagram): void {
    for (const each of pending) this.#pending.set(each.seq, each);
    this.#inFlight += pending.length;
    this.#updateRef();
    this.#makeRoom(writer.offset, pending.length);
    this.#raw.send(writer.bytes(), {}, (error) => {
      if (!error) return;
      for (const each of pending) this.#settle(each, new NetlinkError(each.what, Math.abs(error.errno)));
    });
    // Only now: sending is where the kernel does the work, and where it waits for its lock.
    for (const each of pending) each.timer = setTimeout(() => this.#expire(each), this.timeoutMs);
  }

  /** A batch goes out whole and is answered at once: both buffers of the kernel have to hold it. */
  #makeRoom(size: number, answers: number): void {
    if (size > ordinaryDatagram) forceBuffer(this.#fd, 'send', size * 2);
    if (answers > mostInFlight)
      forceBuffer(this.#fd, 'receive', Math.max(this.#receiveBytes, answers * answerBytes));
  }

  #expire(pending: Pending): void {
    // The thread may have slept in a system call for as long; an answer that is there already is read first.
    setImmediate(() => {
      if (this.#pending.has(pending.seq))
        this.#fail(pending.what, etimedout, `no answer within ${this.timeoutMs} ms`);
    });
  }

  #receive(buffer: Buffer): void {
    let at = 0;
    while (buffer.length - at >= headerSize) {
      const length = buffer.readUInt32LE(at);
      if (length < headerSize || at + length > buffer.length)
        return this.#fail('receive', enobufs, 'a message is cut off');
      const type = buffer.readUInt16LE(at + 4);
      const flags = buffer.readUInt16LE(at + 6);
      const pending = this.#pending.get(buffer.readUInt32LE(at + 8));
      const reply: Reply = {type, flags, buffer, start: at + headerSize, end: at + length};
      if (pending) this.#answer(pending, reply);
      else if (type >= messageType.firstOfProtocol) this.#notify(reply);
      if (this.#closed) return;
      at += (length + 3) & ~3;
    }
    if (this.#queue.length > 0) this.#pump();
  }

  #notify(reply: Reply): void {
    if (!this.#checking) {
      this.#checking = true;
      setImmediate(() => {
        this.#checking = false;
        // Notifications get lost while others wait to be read: so whoever reads some looks whether there were more.
        if (!this.#closed && droppedMessages(this.#fd) > 0) this.#fail('receive notification', enobufs);
      });
    }
    this.#options.onNotification?.(reply);
  }

  #answer(pending: Pending, reply: Reply): void {
    if ((reply.flags & Flag.dumpInterrupted) !== 0) pending.interrupted = true;
    switch (reply.type) {
      case messageType.error:
      case messageType.done: {
        const {errno, extack} = reply.type === messageType.error ? parseAck(reply) : parseDone(reply);
        if (errno !== 0) pending.error ??= new NetlinkError(pending.what, errno, extack());
        else if (pending.kind === 'get')
          pending.error ??= new Error(`${pending.what}: the kernel gave no answer`);
        return this.#settle(pending, pending.error);
      }
      case messageType.noop:
        return;
      case messageType.overrun:
        return this.#fail(pending.what, enobufs);
      default:
        if (pending.decode) this.#decode(pending, reply);
        // A dump goes on until DONE, a change until its acknowledgement.
        if (pending.kind === 'get') this.#settle(pending, pending.error);
    }
  }

  #decode(pending: Pending, reply: Reply): void {
    try {
      const value = pending.decode?.(reply);
      if (value !== undefined) pending.replies.push(value);
    } catch (error) {
      pending.error ??= new Error(`${pending.what}: the kernel's answer cannot be read`, {cause: error});
    }
  }

  #settle(pending: Pending, error?: Error): void {
    if (!this.#pending.delete(pending.seq)) return;
    clearTimeout(pending.timer);
    this.#inFlight--;
    this.#updateRef();
    if (error) pending.reject(error);
    else pending.resolve(pending.replies);
  }

  /** Ends everything: what is unanswered fails, and the socket is closed. */
  #fail(what: string, errno: number, message?: string): void {
    if (this.#closed) return;
    this.#closed = true;
    const extack = message === undefined ? {} : {message};
    for (const {pending} of this.#queue.splice(0)) {
      for (const each of pending) each.reject(new NetlinkError(each.what, errno, extack));
    }
    for (const each of this.#pending.values()) {
      clearTimeout(each.timer);
      each.reject(new NetlinkError(each.what, errno, extack));
    }
    this.#pending.clear();
    this.#raw.close();
    const {onError} = this.#options;
    if (onError && what !== 'close') queueMicrotask(() => onError(new NetlinkError(what, errno, extack)));
  }

  #updateRef(): void {
    if (this.#closed) return;
    if (this.#held || this.#pending.size > 0) this.#raw.ref();
    else this.#raw.unref();
  }

  #closedError(what: string): NetlinkError {
    return new NetlinkError(what, ebadf, {message: 'the netlink socket is closed'});
  }

  /** The descriptor, for tests that look at its namespace. */
  get fd(): number {
    return this.#fd;
  }
}

function keep(reply: Reply): Reply {
  return reply;
}
