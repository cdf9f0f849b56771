import {connect} from 'node:net';
import type {Socket} from 'node:net';
import {formatCall, messageLength, messageTypes, parseMessage} from './dbus-message.ts';
import type {Incoming, Method} from './dbus-message.ts';

/** An error that a method of the bus, or of a service on it, replied with. */
export class DbusError extends Error {
  override readonly name = 'DbusError';
  /** "org.freedesktop.DBus.Error.ServiceUnknown" */
  readonly errorName: string;

  constructor(errorName: string, text: string) {
    super(text === '' ? errorName : text);
    this.errorName = errorName;
  }
}

const defaultAddress = 'unix:path=/var/run/dbus/system_bus_socket';
const defaultTimeoutMs = 25_000;
const mostHandshakeBytes = 16_384;

const bus = {
  destination: 'org.freedesktop.DBus',
  path: '/org/freedesktop/DBus',
  interface: 'org.freedesktop.DBus',
} as const;

interface Pending {
  readonly resolve: (value: Incoming['value']) => void;
  readonly reject: (error: Error) => void;
}

export interface DbusOptions {
  /** Environment of the call: DBUS_SYSTEM_BUS_ADDRESS. */
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Of the whole conversation. */
  readonly timeoutMs?: number;
}

/** A connection to the system bus, good for calls with strings. Close it. */
export class SystemBus {
  readonly #socket: Socket;
  readonly #pending = new Map<number, Pending>();
  readonly #timer: NodeJS.Timeout;
  #received: Buffer = Buffer.alloc(0);
  #serial = 0;
  #handshake: ((line: string) => void) | undefined;
  #failure: Error | undefined;

  private constructor(path: string, timeoutMs: number) {
    this.#socket = connect(path);
    this.#socket.on('data', (bytes) => this.#receive(bytes));
    this.#socket.on('error', (cause) => this.#fail(new Error(`system bus at ${printable(path)}`, {cause})));
    this.#socket.on('close', () => this.#fail(new Error('the system bus closed the connection')));
    this.#timer = setTimeout(
      () => this.#fail(new Error(`the system bus did not answer within ${timeoutMs} ms`)),
      timeoutMs,
    );
  }

  /** Connects and says who we are (SASL EXTERNAL, then Hello). */
  static async open({env, timeoutMs = defaultTimeoutMs}: DbusOptions): Promise<SystemBus> {
    const connection = new SystemBus(findSocket(env['DBUS_SYSTEM_BUS_ADDRESS'] || defaultAddress), timeoutMs);
    try {
      await connection.#authenticate();
      await connection.call({...bus, member: 'Hello'});
      return connection;
    } catch (error) {
      connection.close();
      throw error;
    }
  }

  /** Whether some process owns the name now; does not start one. */
  async hasOwner(name: string): Promise<boolean> {
    return (await this.call({...bus, member: 'NameHasOwner'}, [name])) === true;
  }

  /** The first value of the reply. Throws DbusError for an error reply. */
  call(method: Method, args: readonly string[] = []): Promise<Incoming['value']> {
    if (this.#failure) return Promise.reject(this.#failure);
    const {promise, resolve, reject} = Promise.withResolvers<Incoming['value']>();
    const serial = ++this.#serial;
    this.#pending.set(serial, {resolve, reject});
    this.#socket.write(formatCall(method, args, serial));
    return promise;
  }

  close(): void {
    clearTimeout(this.#timer);
    this.#socket.destroy();
  }

  [Symbol.dispose](): void {
    this.close();
  }

  async #authenticate(): Promise<void> {
    const {promise, resolve, reject} = Promise.withResolvers<string>();
    this.#handshake = resolve;
    this.#pending.set(0, {resolve: () => {}, reject});
    const uid = Buffer.from(String(process.geteuid?.() ?? 0)).toString('hex');
    this.#socket.write(`\0AUTH EXTERNAL ${uid}\r\n`);
    const line = await promise;
    this.#pending.delete(0);
    if (!line.startsWith('OK ')) throw new Error(`the system bus does not let this user in: ${line}`);
    this.#socket.write('BEGIN\r\n');
  }

  #receive(bytes: Buffer): void {
    this.#received = Buffer.concat([this.#received, bytes]);
    try {
      if (this.#handshake) this.#readLine(this.#handshake);
      else this.#readMessages();
    } catch (error) {
      this.#fail(error as Error);
    }
  }

  #readLine(found: (line: string) => void): void {
    const end = this.#received.indexOf('\r\n');
    if (end < 0 && this.#received.length > mostHandshakeBytes)
      throw new Error('the system bus speaks another protocol');
    if (end < 0) return;
    const line = this.#received.toString('latin1', 0, end);
    this.#received = this.#received.subarray(end + 2);
    this.#handshake = undefined;
    found(line);
  }

  #readMessages(): void {
    for (;;) {
      const length = messageLength(this.#received);
      if (length === undefined || this.#received.length < length) return;
      const message = parseMessage(this.#received.subarray(0, length));
      this.#received = this.#received.subarray(length);
      this.#settle(message);
    }
  }

  #settle({type, replySerial, errorName, value}: Incoming): void {
    const pending = replySerial === undefined ? undefined : this.#pending.get(replySerial);
    if (!pending || replySerial === undefined) return;
    this.#pending.delete(replySerial);
    if (type === messageTypes.reply) pending.resolve(value);
    else pending.reject(new DbusError(errorName ?? 'unknown', typeof value === 'string' ? value : ''));
  }

  #fail(error: Error): void {
    this.#failure ??= error;
    for (const {reject} of this.#pending.values()) reject(this.#failure);
    this.#pending.clear();
    this.close();
  }
}

/** The path of the first unix socket in a D-Bus address; an abstract one begins with a zero byte. */
function findSocket(address: string): string {
  for (const part of address.split(';')) {
    const [transport, list] = splitOnce(part, ':');
    if (transport !== 'unix') continue;
    const keys = new Map(list.split(',').map((pair) => splitOnce(pair, '=')));
    const path = keys.get('path');
    if (path !== undefined) return decodeURIComponent(path);
    const abstract = keys.get('abstract');
    if (abstract !== undefined) return `\0${decodeURIComponent(abstract)}`;
  }
  throw new Error(`DBUS_SYSTEM_BUS_ADDRESS: "${address}" names no unix socket`);
}

function splitOnce(text: string, separator: string): [string, string] {
  const at = text.indexOf(separator);
  return at < 0 ? [text, ''] : [text.slice(0, at), text.slice(at + 1)];
}

function printable(path: string): string {
  return path.replace('\0', '@');
}
