import {headerSize, type Reply, type Request} from './message.ts';
import {Writer} from './writer.ts';

/** A question under way. */
export interface Pending {
  readonly seq: number;
  readonly what: string;
  readonly kind: 'ack' | 'get' | 'dump';
  readonly decode: ((reply: Reply) => unknown) | undefined;
  readonly promise: Promise<unknown[]>;
  readonly resolve: (replies: unknown[]) => void;
  readonly reject: (error: Error) => void;
  readonly replies: unknown[];
  /** The kernel said that what it listed changed meanwhile. */
  interrupted: boolean;
  error: Error | undefined;
  timer: NodeJS.Timeout | undefined;
}

export type Question = Pick<Pending, 'kind' | 'decode' | 'seq'> & {
  readonly request: Request;
  readonly flags: number;
};

interface DatagramOptions {
  readonly port: number;
  readonly sealed: boolean;
  readonly inBackground?: boolean;
}

// A datagram takes no further requests beyond either.
const fullBytes = 32_768;
const fullRequests = 64;

/** Requests that travel together. */
export class Datagram {
  readonly writer: Writer;
  readonly pending: Pending[] = [];
  /** Another thread sends it, and waits. */
  readonly inBackground: boolean;
  readonly #sealed: boolean;
  readonly #port: number;

  /** `sealed`: nobody else's requests are put into it. */
  constructor({port, sealed, inBackground = false}: DatagramOptions) {
    this.#port = port;
    this.inBackground = inBackground;
    this.#sealed = sealed;
    this.writer = new Writer(sealed ? 4096 : 512);
  }

  get isFull(): boolean {
    return this.#sealed || this.pending.length >= fullRequests || this.writer.offset > fullBytes;
  }

  /** Writes one message; what its body throws leaves the datagram as it was. */
  add({request, kind, flags, decode, seq}: Question): Pending {
    const {writer} = this;
    const at = writer.reserve(headerSize);
    try {
      if (typeof request.body === 'function') request.body(writer);
      else if (request.body) writer.append(request.body);
    } catch (error) {
      writer.offset = at;
      throw error;
    }
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
    this.pending.push(pending);
    return pending;
  }
}
