import {closeSync} from 'node:fs';
import {droppedMessages, openNetlinkSocket} from '../netns/native.ts';
import {exchange, setOptions, type Sending, type Transport, type TransportOptions} from './transport.ts';

const eopnotsupp = 95;

/**
 * A socket for a few questions, as the one in a container's namespace: all it hears are answers, which are there when a
 * question is sent. So nobody watches it, and it takes a quarter of the system calls to make. It gets no notifications.
 */
export class BriefTransport implements Transport {
  /** The kernel chooses one when it is first sent to, and needs not be told. */
  readonly port = 0;
  readonly #fd: number;
  readonly #options: TransportOptions;
  #isClosed = false;

  constructor(options: TransportOptions) {
    this.#options = options;
    this.#fd = openNetlinkSocket(options.protocol);
    setOptions(this.#fd);
  }

  send(datagram: Buffer, sending: Sending, onError: (errno: number) => void): void {
    exchange(this.#fd, datagram, {...sending, ...this.#options, onError});
  }

  /** Refused: nobody would hear the answer. */
  sendInBackground(_: Buffer, onError: (errno: number) => void): Promise<void> {
    onError(eopnotsupp);
    return Promise.resolve();
  }

  join(): void {
    throw new Error('a brief netlink socket joins no group');
  }

  hold(): void {}

  get isOverrun(): boolean {
    return droppedMessages(this.#fd) > 0;
  }

  close(): void {
    if (!this.#isClosed) closeSync(this.#fd);
    this.#isClosed = true;
  }
}
