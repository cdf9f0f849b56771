import {RawNetlinkSocket} from 'netlink/dist/raw.js';
import {
  droppedMessages,
  findNetlinkFd,
  forceBuffer,
  nextFd,
  receiveNetlink,
  sendInBackground,
  sendNetlink,
  setSocketOption,
} from '../netns/native.ts';

// linux/netlink.h
const solNetlink = 270;
const options = {
  // An overrun would set the socket's error, and the addon ends the process when poll reports one. What was dropped is
  // counted anyway (`droppedMessages`).
  noEnobufs: 5,
  capAck: 10,
  extAck: 11,
  strictCheck: 12,
};
// Holds any message the kernel sends: it never puts more than 32 KiB into one buffer of a dump.
const datagramBytes = 32_768;
// What the smallest send buffer takes.
const ordinaryBytes = 131_072;
// What the kernel counts for one acknowledgement, generously.
const answerBytes = 1024;
const eagain = 11;
const enobufs = 105;
const ebadf = 9;
const eproto = 71;

export interface TransportOptions {
  readonly protocol: number;
  /** What the kernel may have queued for us; more than the system's limit needs CAP_NET_ADMIN. */
  readonly receiveBytes: number;
  /** A datagram of the kernel. An error thrown here goes to `onFailure`. */
  readonly onDatagram: (datagram: Buffer) => void;
  /** The socket is of no use any more. */
  readonly onFailure: (errno: number, message?: string) => void;
}

export interface Sending {
  readonly answers: number;
  /** Whether nothing is waited for any more; also when the socket is closed. */
  readonly isAnswered: () => boolean;
}

/** How datagrams get to the kernel and back. */
export interface Transport {
  /** Our address, where it is known: the kernel answers to it. */
  readonly port: number;
  /**
   * Sends one datagram that will get so many answers at once. The kernel answers while it is sent: what it says is read right
   * away, until `isAnswered`, which saves a turn of the event loop.
   */
  send(datagram: Buffer, sending: Sending, onError: (errno: number) => void): void;
  /** Sends one datagram in another thread. The answer may be there before this resolves; it never rejects. */
  sendInBackground(datagram: Buffer, onError: (errno: number) => void): Promise<void>;
  /** Joins a multicast group. */
  join(group: number): void;
  /** Whether the process stays alive for this socket. */
  hold(held: boolean): void;
  /** Messages were lost because nobody read for too long. */
  readonly isOverrun: boolean;
  close(): void;
}

/** What the socket needs beyond what it has; kernels before 4.12 and 4.20 do without: errors have no sentence, filters of dumps are ignored. */
export function setOptions(fd: number): void {
  for (const name of Object.values(options)) {
    try {
      setSocketOption(fd, {level: solNetlink, name}, 1);
    } catch {}
  }
}

/** `Transport.send` over a descriptor. */
export function exchange(
  fd: number,
  datagram: Buffer,
  {
    answers,
    isAnswered,
    receiveBytes,
    onDatagram,
    onFailure,
    onError,
  }: Sending &
    Pick<TransportOptions, 'receiveBytes' | 'onDatagram' | 'onFailure'> & {
      readonly onError: (errno: number) => void;
    },
): void {
  // A batch goes out whole: both buffers of the kernel have to hold it.
  if (datagram.length > ordinaryBytes) forceBuffer(fd, 'send', datagram.length * 2);
  if (answers * answerBytes > receiveBytes) forceBuffer(fd, 'receive', answers * answerBytes);
  const errno = sendNetlink(fd, datagram);
  if (errno !== 0) return onError(errno);
  while (!isAnswered()) {
    const received = receiveNetlink(fd);
    if (received === undefined) continue;
    if (!(received instanceof Uint8Array))
      return received.errno === eagain ? undefined : onFailure(received.errno);
    try {
      onDatagram(received);
    } catch (error) {
      return onFailure(eproto, error instanceof Error ? error.message : String(error));
    }
  }
}

/**
 * The addon's socket with what it lacks: extended acknowledgements, strict checking, buffers that are large enough, and a
 * count of what was lost. Made synchronously, in the network namespace the thread is in.
 */
export class WatchedTransport implements Transport {
  readonly port: number;
  /** The descriptor of the socket. */
  readonly fd: number;
  readonly #raw: RawNetlinkSocket;
  readonly #receiveBytes: number;
  readonly #onDatagram: (datagram: Buffer) => void;
  readonly #onFailure: TransportOptions['onFailure'];

  constructor({protocol, receiveBytes, onDatagram, onFailure}: TransportOptions) {
    const guess = nextFd();
    // The addon's types ask for both buffer sizes, its code does not.
    this.#raw = new RawNetlinkSocket(protocol, {
      messagePeeking: false,
      msgBufferSize: datagramBytes,
    } as ConstructorParameters<typeof RawNetlinkSocket>[1]);
    this.#raw.unref();
    this.port = this.#raw.address().port;
    const fd = findNetlinkFd({protocol, port: this.port}, guess);
    if (fd === undefined) {
      this.#raw.close();
      throw new Error('the descriptor of a netlink socket was not found');
    }
    this.fd = fd;
    setOptions(fd);
    this.#receiveBytes = receiveBytes;
    if (!forceBuffer(fd, 'receive', receiveBytes)) this.#raw.setRecvBufferSize(receiveBytes);
    this.#onFailure = onFailure;
    this.#onDatagram = (datagram) => {
      try {
        onDatagram(datagram);
      } catch (error) {
        // Whatever leaves this function ends the process: the addon does not expect it.
        onFailure(eproto, error instanceof Error ? error.message : String(error));
      }
    };
    this.#raw.on('message', (datagram, {port}) => {
      // Port 0 is the kernel; any process may send to us.
      if (port === 0) this.#onDatagram(datagram);
    });
    this.#raw.on('truncatedMessage', () => onFailure(enobufs));
    this.#raw.on('error', (error) => onFailure(Math.abs(error.errno) || ebadf));
  }

  /** What is not answered at once the addon hears of. */
  send(datagram: Buffer, sending: Sending, onError: (errno: number) => void): void {
    const [receiveBytes, onDatagram, onFailure] = [this.#receiveBytes, this.#onDatagram, this.#onFailure];
    exchange(this.fd, datagram, {...sending, receiveBytes, onDatagram, onFailure, onError});
  }

  async sendInBackground(datagram: Buffer, onError: (errno: number) => void): Promise<void> {
    const errno = await sendInBackground(this.fd, datagram);
    if (errno !== 0) onError(errno);
  }

  join(group: number): void {
    this.#raw.addMembership(group);
  }

  hold(held: boolean): void {
    if (held) this.#raw.ref();
    else this.#raw.unref();
  }

  get isOverrun(): boolean {
    return droppedMessages(this.fd) > 0;
  }

  close(): void {
    this.#raw.close();
  }
}
