import type {Socket} from 'node:net';
import type {Frame} from './frames.ts';
import {FrameReader} from './frames.ts';
import {
  formatAnswer,
  formatFrame,
  frameTypes,
  largestRequest,
  parseRequest,
  ProtocolError,
  type WarmAnswer,
  type WarmRequest,
} from './protocol.ts';

/** What decides on a call and runs it. */
export interface SessionHandler {
  /** Why a call is not served; undefined when it is. */
  refusal(request: WarmRequest, socket: Socket): string | undefined;
  /** Runs a call; it never throws. `isGone` tells whether its client still waits. */
  serve(request: WarmRequest, isGone: () => boolean): Promise<WarmAnswer>;
  /** The client of a call was gone before it could have the answer. */
  undelivered(request: WarmRequest, answer: WarmAnswer): Promise<void>;
  readonly timeoutMs: number;
}

/** How far a connection is. */
type State = 'asked' | 'ready' | 'serving' | 'over';

const ready = formatFrame(frameTypes.ready);

/** One connection: one call. */
export class Session {
  /** Resolves when the connection is closed and nothing is under way for it. */
  readonly over: Promise<void>;
  readonly #socket: Socket;
  readonly #handler: SessionHandler;
  readonly #reader = new FrameReader(largestRequest);
  readonly #deadline: NodeJS.Timeout;
  #state: State = 'asked';
  #request: WarmRequest | undefined;
  #requestSize = 0;
  #isGone = false;
  #served: Promise<void> = Promise.resolve();

  constructor(socket: Socket, handler: SessionHandler) {
    this.#socket = socket;
    this.#handler = handler;
    // A client that says nothing: it is stopped, or none.
    this.#deadline = setTimeout(() => socket.destroy(), handler.timeoutMs);
    const closed = new Promise<void>((resolve) => {
      socket.once('close', () => {
        clearTimeout(this.#deadline);
        this.#isGone = true;
        if (this.#state !== 'serving') this.#state = 'over';
        resolve();
      });
    });
    this.over = closed.then(() => this.#served);
    socket.on('data', (chunk: Buffer) => this.#receive(chunk));
    // A client that is gone is seen by 'close' as well.
    socket.on('error', () => {});
    socket.on('end', () => (this.#isGone = true));
  }

  /** Whether the client was told that its call will be served. */
  get isPromised(): boolean {
    return this.#request !== undefined;
  }

  /** Bytes held for its request, complete or not. */
  get size(): number {
    return this.#reader.size + this.#requestSize;
  }

  /** Whether the rest of its request is to come. */
  get isIncomplete(): boolean {
    return this.#state === 'asked' && this.#reader.size > 0;
  }

  /** Ends a connection for which nothing is promised yet: the client runs the plugin itself. */
  refuseUnlessReady(reason: string): void {
    if (this.#state === 'asked') this.#refuse(reason);
  }

  #receive(chunk: Buffer): void {
    // After `go` the client has nothing to say.
    if (this.#state === 'serving' || this.#state === 'over') return;
    try {
      for (const frame of this.#reader.push(chunk)) this.#take(frame);
    } catch (error) {
      if (!(error instanceof ProtocolError)) throw error;
      this.#refuse(error.message);
    }
  }

  #take({type, payload}: Frame): void {
    if (this.#state === 'asked' && type === frameTypes.request) {
      const request = parseRequest(payload);
      const reason = this.#handler.refusal(request, this.#socket);
      if (reason !== undefined) return this.#refuse(reason);
      this.#request = request;
      this.#requestSize = payload.length;
      this.#state = 'ready';
      this.#socket.write(ready);
    } else if (this.#state === 'ready' && type === frameTypes.go && payload.length === 0) {
      this.#served = this.#serve(this.#request!);
    } else {
      throw new ProtocolError(`a frame of type ${type} while ${this.#state}`);
    }
  }

  async #serve(request: WarmRequest): Promise<void> {
    this.#state = 'serving';
    clearTimeout(this.#deadline);
    const answer = await this.#handler.serve(request, () => this.#isGone);
    const isDelivered = !this.#isGone && (await this.#send(answer));
    this.#state = 'over';
    if (!isDelivered) await this.#handler.undelivered(request, answer);
  }

  /** Whether the kernel took all of it. */
  #send(answer: WarmAnswer): Promise<boolean> {
    const {promise, resolve} = Promise.withResolvers<boolean>();
    let frame: Buffer;
    try {
      frame = formatAnswer(answer);
    } catch {
      this.#socket.destroy();
      return Promise.resolve(false);
    }
    this.#socket.write(frame, (error) => {
      resolve(!error);
      this.#socket.destroySoon();
    });
    return promise;
  }

  #refuse(reason: string): void {
    this.#state = 'over';
    clearTimeout(this.#deadline);
    this.#socket.end(formatFrame(frameTypes.refuse, Buffer.from(reason)));
  }
}
