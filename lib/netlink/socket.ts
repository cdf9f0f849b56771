import {Datagram, type Pending} from './datagram.ts';
import {NetlinkError} from './error.ts';
import {Flag, headerSize, messageType, parseAck, parseDone, type Reply, type Request} from './message.ts';
import type {Netlink, Outcome} from './netlink.ts';
import {BriefTransport} from './brief-transport.ts';
import {WatchedTransport, type Transport} from './transport.ts';

export interface SocketOptions {
  /** NETLINK_ROUTE is 0, NETLINK_NETFILTER 12 (linux/netlink.h). */
  readonly protocol: number;
  /** How long an answer may take (5000); the socket is closed when one does not come. */
  readonly timeoutMs?: number;
  /** Where messages go that answer no request: notifications of the groups joined. */
  readonly onNotification?: (reply: Reply) => void;
  /** Called once when the socket closes itself after an error: it was overrun, or the kernel did not answer. */
  readonly onError?: (error: NetlinkError) => void;
  /** It lives for a few questions and joins no group: see `BriefTransport`. */
  readonly isBrief?: boolean;
  /** Bytes the kernel may have queued for us (1 MiB); more than the system's limit needs CAP_NET_ADMIN. */
  readonly receiveBufferBytes?: number;
}

// net.core.rmem_default is more everywhere.
const ordinaryReceiveBytes = 1 << 17;
// Replies to this many requests fit into the receive buffer, whatever they are.
const mostInFlight = 64;
const dumpAttempts = 20;
const eintr = 4;
const ebadf = 9;
const enobufs = 105;
const etimedout = 110;

/**
 * A netlink socket in the network namespace that the thread is in while it is made, for ever.
 *
 * Requests made in the same turn of the event loop travel in one datagram, and further ones do not wait for the answers
 * of earlier ones; the kernel works on them in order, and one that fails does not stop those behind it. The process
 * may exit while nothing is asked. Every refusal is a NetlinkError; after ENOBUFS (messages were lost), EPROTO (what came
 * makes no sense) or ETIMEDOUT the socket is closed.
 */
export class NetlinkSocket implements Netlink {
  readonly timeoutMs: number;
  readonly #options: SocketOptions;
  readonly #transport: Transport;
  readonly #pending = new Map<number, Pending>();
  readonly #queue: Datagram[] = [];
  #seq = 0;
  #scheduled = false;
  #checking = false;
  #closed = false;
  #held = false;
  /** As the transport was told last. */
  #isHolding = false;
  #lastDump: Promise<unknown> = Promise.resolve();

  constructor(options: SocketOptions) {
    this.#options = options;
    this.timeoutMs = options.timeoutMs ?? 5000;
    const Kind = options.isBrief === true ? BriefTransport : WatchedTransport;
    this.#transport = new Kind({
      protocol: options.protocol,
      receiveBytes: options.receiveBufferBytes ?? (options.isBrief === true ? ordinaryReceiveBytes : 1 << 20),
      onDatagram: (datagram) => this.#receive(datagram),
      onFailure: (errno, message) => this.#fail('receive', errno, message),
    });
  }

  get closed(): boolean {
    return this.#closed;
  }

  /** Joins a multicast group; its messages go to `onNotification`. */
  join(group: number): void {
    this.#transport.join(group);
  }

  /** Keeps the process alive while notifications are waited for. */
  hold(held: boolean): void {
    this.#held = held;
    this.#updateHold();
  }

  request(request: Request): Promise<void> {
    return this.#ask({request, kind: 'ack', flags: Flag.request | Flag.ack, decode: undefined}).then(
      () => {},
    );
  }

  get<T>(request: Request, decode: (reply: Reply) => T): Promise<T> {
    // Without NLM_F_ACK: the answer is the acknowledgement, a second one would only be in the way.
    return this.#ask({request, kind: 'get', flags: Flag.request, decode}).then((replies) => replies[0] as T);
  }

  dump<T>(request: Request, decode: (reply: Reply) => T | undefined): Promise<T[]> {
    // A socket can have one dump at a time: the kernel answers a second one with EBUSY.
    const turn = this.#lastDump.then(() => this.#dump(request, decode));
    this.#lastDump = turn.catch(() => {});
    return turn;
  }

  async #dump<T>(request: Request, decode: (reply: Reply) => T | undefined): Promise<T[]> {
    for (let attempt = 1; ; attempt++) {
      const pending = this.#enqueue({request, kind: 'dump', flags: Flag.request | Flag.dump, decode});
      const replies = await pending.promise;
      // What was listed changed while it was listed: entries may be missing or twice.
      if (!pending.interrupted) return replies as T[];
      if (attempt === dumpAttempts) {
        const message = `the list changed ${attempt} times while it was read`;
        throw new NetlinkError(request.what, eintr, {message});
      }
      if (attempt > 3) await new Promise((resolve) => setTimeout(resolve, attempt));
    }
  }

  batch(
    requests: readonly Request[],
    {independent = false}: {readonly independent?: boolean} = {},
  ): Promise<readonly Outcome[]> {
    if (this.#closed) return Promise.reject(this.#closedError(requests[0]?.what ?? 'batch'));
    const datagram = new Datagram({port: this.#transport.port, sealed: true});
    const outcomes: {error: NetlinkError | undefined; replies: readonly Reply[]}[] = [];
    const {promise, resolve} = Promise.withResolvers<readonly Outcome[]>();
    let open = 0;
    const finish = () => {
      for (const pending of datagram.pending) this.#settle(pending);
      resolve(outcomes);
    };
    try {
      for (const request of requests) {
        const outcome: (typeof outcomes)[number] = {error: undefined, replies: []};
        outcomes.push(outcome);
        const acked = ((request.flags ?? 0) & Flag.ack) !== 0;
        if (acked) open++;
        const seq = this.#nextSeq();
        const pending = datagram.add({request, kind: 'ack', flags: Flag.request, decode: keep, seq});
        pending.promise.then(
          (replies) => {
            outcome.replies = replies as Reply[];
            if (acked && --open === 0) finish();
          },
          (error: NetlinkError) => {
            outcome.error = error;
            // A message that asked for no acknowledgement (BATCH_BEGIN) is refused: nothing else will be answered.
            if (acked ? --open === 0 : !independent) finish();
          },
        );
      }
    } catch (error) {
      return Promise.reject(error);
    }
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

  #ask(question: Asked): Promise<unknown[]> {
    try {
      return this.#enqueue(question).promise;
    } catch (error) {
      return Promise.reject(error);
    }
  }

  #enqueue(question: Asked): Pending {
    if (this.#closed) throw this.#closedError(question.request.what);
    const inBackground = question.request.inBackground === true;
    let datagram = this.#queue.at(-1);
    if (!datagram || datagram.isFull || inBackground) {
      datagram = new Datagram({port: this.#transport.port, sealed: inBackground, inBackground});
      this.#queue.push(datagram);
    }
    const pending = datagram.add({...question, seq: this.#nextSeq()});
    this.#schedule();
    return pending;
  }

  #nextSeq(): number {
    this.#seq = (this.#seq % 0xffff_ffff) + 1;
    return this.#seq;
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
      const next = this.#queue[0];
      const inFlight = this.#pending.size;
      if (!next || (inFlight > 0 && inFlight + next.pending.length > mostInFlight)) return;
      this.#queue.shift();
      // A body that could not be written may have been the only one.
      if (next.pending.length > 0) this.#send(next);
    }
  }

  #send({writer, pending, inBackground}: Datagram): void {
    for (const each of pending) this.#pending.set(each.seq, each);
    const onError = (errno: number) => {
      for (const each of pending) this.#settle(each, new NetlinkError(each.what, errno));
    };
    // Only when it is sent: that is where the kernel does the work, and where it waits for its lock.
    const startTimers = () => {
      for (const each of pending) {
        if (this.#pending.has(each.seq)) each.timer = setTimeout(() => this.#expire(each), this.timeoutMs);
      }
    };
    if (inBackground) {
      void this.#transport.sendInBackground(writer.bytes(), onError).then(startTimers);
    } else {
      const isAnswered = () => this.#closed || !pending.some(({seq}) => this.#pending.has(seq));
      this.#transport.send(writer.bytes(), {answers: pending.length, isAnswered}, onError);
      startTimers();
    }
    this.#updateHold();
  }

  #expire(pending: Pending): void {
    // The thread may have slept in a system call for as long; an answer that is there already is read first.
    setImmediate(() => {
      if (!this.#pending.has(pending.seq)) return;
      if (this.#transport.isOverrun) this.#fail(pending.what, enobufs);
      else this.#fail(pending.what, etimedout, `no answer within ${this.timeoutMs} ms`);
    });
  }

  #receive(buffer: Buffer): void {
    let at = 0;
    while (buffer.length - at >= headerSize) {
      const length = buffer.readUInt32LE(at);
      if (length < headerSize || at + length > buffer.length) throw new RangeError('a message is cut off');
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
        if (!this.#closed && this.#transport.isOverrun) this.#fail('receive notification', enobufs);
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
        else if (pending.kind === 'get') {
          pending.error ??= new Error(`${pending.what}: the kernel gave no answer`);
        }
        return this.#settle(pending, pending.error);
      }
      case messageType.noop:
        return;
      case messageType.overrun:
        return this.#fail(pending.what, enobufs);
      default:
        if (pending.decode) decodeInto(pending, reply);
        // A dump goes on until DONE, a change until its acknowledgement.
        if (pending.kind === 'get') this.#settle(pending, pending.error);
    }
  }

  #settle(pending: Pending, error?: Error): void {
    if (!this.#pending.delete(pending.seq)) return;
    clearTimeout(pending.timer);
    this.#updateHold();
    if (error) pending.reject(error);
    else pending.resolve(pending.replies);
  }

  /** Ends everything: what is unanswered fails, and the socket is closed. */
  #fail(what: string, errno: number, message?: string): void {
    if (this.#closed) return;
    this.#closed = true;
    const extack = message === undefined ? {} : {message};
    for (const each of [...this.#pending.values(), ...this.#queue.flatMap(({pending}) => pending)]) {
      clearTimeout(each.timer);
      each.reject(new NetlinkError(each.what, errno, extack));
    }
    this.#pending.clear();
    this.#queue.length = 0;
    this.#transport.close();
    const {onError} = this.#options;
    if (onError && what !== 'close') queueMicrotask(() => onError(new NetlinkError(what, errno, extack)));
  }

  #updateHold(): void {
    const isHolding = this.#held || this.#pending.size > 0;
    if (this.#closed || isHolding === this.#isHolding) return;
    this.#isHolding = isHolding;
    this.#transport.hold(isHolding);
  }

  #closedError(what: string): NetlinkError {
    return new NetlinkError(what, ebadf, {message: 'the netlink socket is closed'});
  }
}

interface Asked {
  readonly request: Request;
  readonly kind: Pending['kind'];
  readonly flags: number;
  readonly decode: Pending['decode'];
}

function decodeInto(pending: Pending, reply: Reply): void {
  try {
    const value = pending.decode?.(reply);
    if (value !== undefined) pending.replies.push(value);
  } catch (error) {
    pending.error ??= new Error(`${pending.what}: the kernel's answer cannot be read`, {cause: error});
  }
}

function keep(reply: Reply): Reply {
  return reply;
}
