import {RawNetlinkSocket} from 'netlink/dist/raw.js';
import {WatchedTransport} from '../../lib/netlink/transport.ts';
import {splitMessages} from './captures.ts';

/** A request as the kernel sees it. */
export interface Seen {
  readonly type: number;
  readonly flags: number;
  readonly seq: number;
  readonly body: Buffer;
}

/** What a kernel says: messages that reach the socket as one datagram. */
export interface Said {
  readonly seq: number;
  readonly type: number;
  readonly flags?: number;
  readonly body?: Buffer;
}

export interface ScriptedKernel {
  /** The requests of each datagram that was sent. */
  readonly datagrams: readonly (readonly Seen[])[];
  /** The socket under test, once it sent something. */
  readonly raw: RawNetlinkSocket;
  say(messages: readonly Said[], options?: {readonly port?: number}): void;
}

/**
 * Puts a script in the place of the kernel for every netlink socket of this process, until the function it gives back is
 * called: `answer` is asked for every datagram what to say to it (nothing: `[]`).
 */
export function scriptKernel(
  answer: (requests: readonly Seen[], kernel: ScriptedKernel) => readonly Said[],
): ScriptedKernel & Disposable {
  const send = Object.getOwnPropertyDescriptor(WatchedTransport.prototype, 'send')!;
  const address = Object.getOwnPropertyDescriptor(RawNetlinkSocket.prototype, 'address')!;
  const datagrams: Seen[][] = [];
  let raw: RawNetlinkSocket | undefined;
  const remember = (socket: RawNetlinkSocket) => {
    raw = socket;
  };
  const kernel: ScriptedKernel & Disposable = {
    datagrams,
    get raw() {
      return raw!;
    },
    say(messages, {port = 0} = {}) {
      if (messages.length === 0) return;
      const datagram = Buffer.concat(messages.map(format));
      setImmediate(() => raw!.emit('message', datagram, {port, groups: 0}));
    },
    [Symbol.dispose]() {
      Object.defineProperty(WatchedTransport.prototype, 'send', send);
      Object.defineProperty(RawNetlinkSocket.prototype, 'address', address);
    },
  };
  // Every socket is asked for its address when it is made.
  RawNetlinkSocket.prototype.address = function (this: RawNetlinkSocket) {
    remember(this);
    return (address.value as RawNetlinkSocket['address']).call(this);
  };
  WatchedTransport.prototype.send = (bytes) => {
    const seen = splitMessages(bytes);
    datagrams.push(seen);
    kernel.say(answer(seen, kernel));
  };
  return kernel;
}

/** NLMSG_ERROR with an errno (0 is an acknowledgement), and the sentence of the kernel. */
export function errorMessage(seq: number, errno: number, sentence?: string): Said {
  const header = Buffer.alloc(20);
  header.writeInt32LE(-errno);
  return {
    seq,
    type: 2,
    flags: sentence === undefined ? 0x100 : 0x300,
    body: Buffer.concat([header, extack(sentence)]),
  };
}

/** NLMSG_DONE. */
export function doneMessage(seq: number, errno = 0, sentence?: string): Said {
  const header = Buffer.alloc(4);
  header.writeInt32LE(-errno);
  return {
    seq,
    type: 3,
    flags: sentence === undefined ? 0x2 : 0x202,
    body: Buffer.concat([header, extack(sentence)]),
  };
}

function extack(sentence: string | undefined): Buffer {
  if (sentence === undefined) return Buffer.alloc(0);
  const text = Buffer.from(`${sentence}\0`);
  const attribute = Buffer.alloc((4 + text.length + 3) & ~3);
  attribute.writeUInt16LE(4 + text.length);
  attribute.writeUInt16LE(1, 2);
  text.copy(attribute, 4);
  return attribute;
}

function format({seq, type, flags = 0, body = Buffer.alloc(0)}: Said): Buffer {
  const bytes = Buffer.alloc((16 + body.length + 3) & ~3);
  bytes.writeUInt32LE(16 + body.length);
  bytes.writeUInt16LE(type, 4);
  bytes.writeUInt16LE(flags, 6);
  bytes.writeUInt32LE(seq, 8);
  body.copy(bytes, 16);
  return bytes;
}
