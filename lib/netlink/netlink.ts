import type {NetlinkError} from './error.ts';
import type {Reply, Request} from './message.ts';

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
  /**
   * Messages that have to arrive as one datagram, in this order (nfnetlink transactions). At least one has to ask for an
   * acknowledgement (Flag.ack); settled when all of those that do have theirs, or one that does not is refused, unless
   * the messages are `independent` of one another.
   */
  batch(
    requests: readonly Request[],
    options?: {readonly independent?: boolean},
  ): Promise<readonly Outcome[]>;
  close(): void;
}
