import {statSync} from 'node:fs';
import {connect} from 'node:net';
import type {Socket} from 'node:net';
import {createClient} from 'dbus-native';
import type {MessageBus} from 'dbus-native';

/** A method, and where it is. */
export interface Method {
  readonly destination: string;
  readonly path: string;
  readonly interface: string;
  readonly member: string;
}

const defaultAddress = 'unix:path=/var/run/dbus/system_bus_socket';
const defaultTimeoutMs = 25_000;

const bus = {
  destination: 'org.freedesktop.DBus',
  path: '/org/freedesktop/DBus',
  interface: 'org.freedesktop.DBus',
} as const;

export interface DbusOptions {
  /** Environment of the call: DBUS_SYSTEM_BUS_ADDRESS. */
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Of the whole conversation. */
  readonly timeoutMs?: number;
}

/** A connection to the system bus, good for calls with strings. Close it. */
export class SystemBus {
  readonly #socket: Socket;
  readonly #failed = Promise.withResolvers<never>();
  readonly #timer: NodeJS.Timeout;
  #client: MessageBus | undefined;

  private constructor(path: string, timeoutMs: number) {
    this.#socket = connect(path);
    const fail = (cause: unknown) => this.#fail(new Error(`system bus at ${printable(path)}`, {cause}));
    this.#socket.on('error', fail);
    // The library is loaded for a bus that is there: on most hosts without one it would be for nothing.
    this.#socket.on('connect', () => {
      this.#client = createClient({stream: this.#socket, authMethods: ['EXTERNAL'], timeout: 0});
      this.#client.connection.on('error', fail);
    });
    this.#timer = setTimeout(
      () => this.#fail(new Error(`the system bus did not answer within ${timeoutMs} ms`)),
      timeoutMs,
    );
    this.#failed.promise.catch(() => {});
  }

  /** Connects; the bus learns who we are together with the first call. */
  static async open({env, timeoutMs = defaultTimeoutMs}: DbusOptions): Promise<SystemBus> {
    const path = findSocket(env['DBUS_SYSTEM_BUS_ADDRESS'] || defaultAddress);
    checkThere(path);
    const connection = new SystemBus(path, timeoutMs);
    const {promise, resolve} = Promise.withResolvers<void>();
    connection.#socket.once('connect', resolve);
    await Promise.race([promise, connection.#failed.promise]);
    return connection;
  }

  /** Whether some process owns the name now; does not start one. */
  async hasOwner(name: string): Promise<boolean> {
    return (await this.call({...bus, member: 'NameHasOwner'}, [name])) === true;
  }

  /** The reply's value. Throws the library's DBusError for an error reply, whose message begins with what the service says. */
  async call(method: Method, args: readonly string[] = []): Promise<unknown> {
    const message = {...method, signature: 's'.repeat(args.length), body: [...args]};
    // To a socket that is closed the library would write a line on stderr.
    const reply = this.#socket.destroyed ? new Promise<never>(() => {}) : this.#client?.invoke(message);
    return Promise.race([this.#failed.promise, reply]);
  }

  close(): void {
    this.#fail(new Error('the connection to the system bus was closed'));
  }

  [Symbol.dispose](): void {
    this.close();
  }

  #fail(error: Error): void {
    clearTimeout(this.#timer);
    this.#failed.reject(error);
    this.#socket.destroy();
  }
}

/** To load node:net takes longer than most calls do: not for a bus that is not there. */
function checkThere(path: string): void {
  if (path.startsWith('\0')) return;
  try {
    statSync(path);
  } catch (cause) {
    throw new Error(`system bus at ${path}`, {cause});
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
