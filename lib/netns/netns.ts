import {closeSync, fstatSync, openSync, statfsSync} from 'node:fs';
import {errnoOf, errnoText} from '../errno.ts';
import {setns} from './native.ts';

// linux/magic.h
const nsfsMagic = 0x6e73_6673;
const procfsMagic = 0x9fa0;
const eperm = 1;
const enoent = 2;

/** The path of a network namespace that nothing is at: its container is gone. */
export class NetnsNotFoundError extends Error {
  override readonly name = 'NetnsNotFoundError';
}

export function isNetnsNotFound(error: unknown): boolean {
  return error instanceof NetnsNotFoundError;
}

/** Whether `kept` is used: see `keepHome`. */
let isKeeping = false;
let kept: Netns | undefined;
/** Whether the thread is in another namespace at this moment. */
let isAway = false;

/** Looks up once where to return to, instead of at every `run`: for a process that never moves for good. */
export function keepHome(): void {
  isKeeping = true;
}

/** A network namespace, held by an open file: it lives on while its path and its processes go. */
export class Netns {
  readonly path: string;
  #fd: number;

  private constructor(path: string, fd: number) {
    this.path = path;
    this.#fd = fd;
  }

  /**
   * Opens `/proc/<pid>/ns/net`, `/run/netns/<name>` and the like. The messages are the reference's: NetnsNotFoundError
   * `failed to Statfs "/p": no such file or directory`, else Error `failed to Statfs …`, `unknown FS magic on "/p": 1021994`
   * or `open /p: permission denied`.
   */
  static open(path: string): Netns {
    let magic: number;
    try {
      magic = statfsSync(path).type;
    } catch (cause) {
      throw openError(`failed to Statfs ${JSON.stringify(path)}`, cause);
    }
    if (magic !== nsfsMagic && magic !== procfsMagic) {
      throw new Error(`unknown FS magic on ${JSON.stringify(path)}: ${magic.toString(16)}`);
    }
    try {
      return new Netns(path, openSync(path, 'r'));
    } catch (cause) {
      throw openError(`open ${path}`, cause);
    }
  }

  /** The namespace the calling thread is in. */
  static current(): Netns {
    // In a pid namespace of somebody else's /proc there is no thread-self.
    try {
      return Netns.open('/proc/thread-self/ns/net');
    } catch {
      return Netns.open('/proc/self/ns/net');
    }
  }

  /** For attributes that name a namespace by descriptor (IFLA_NET_NS_FD). */
  get fd(): number {
    if (this.#fd < 0) throw new Error(`the network namespace ${this.path} is closed`);
    return this.#fd;
  }

  /**
   * Runs `work` with the calling thread in this namespace. Synchronous from end to end: what Node does in other threads
   * (every asynchronous call of node:fs) happens in the namespace the process began in. A netlink socket made inside
   * stays here. If the thread cannot return, the process is aborted: everything after would hit the wrong namespace.
   */
  run<T>(work: () => T): T {
    if (isKeeping && !isAway) kept ??= Netns.current();
    using opened = isKeeping && !isAway ? undefined : Netns.current();
    const home = opened ?? kept!;
    const wasAway = isAway;
    try {
      setns(this.fd);
    } catch (cause) {
      const errno = errnoOf(cause) ?? 0;
      const remedy = errno === eperm ? ' (needs CAP_SYS_ADMIN)' : '';
      throw new Error(`error switching to ns ${this.path}: ${errnoText(errno)}${remedy}`, {cause});
    }
    let result: T;
    isAway = true;
    try {
      result = work();
    } finally {
      isAway = wasAway;
      try {
        setns(home.fd);
      } catch {
        process.abort();
      }
    }
    if (result instanceof Promise) throw new Error('work in a network namespace has to be synchronous');
    return result;
  }

  /** Whether both are one namespace, whatever their paths. */
  sameAs(other: Netns): boolean {
    const mine = fstatSync(this.fd, {bigint: true});
    const theirs = fstatSync(other.fd, {bigint: true});
    return mine.dev === theirs.dev && mine.ino === theirs.ino;
  }

  close(): void {
    if (this.#fd >= 0) closeSync(this.#fd);
    this.#fd = -1;
  }

  [Symbol.dispose](): void {
    this.close();
  }
}

function openError(what: string, cause: unknown): Error {
  const errno = errnoOf(cause) ?? 0;
  const text = `${what}: ${errnoText(errno)}`;
  // Without the cause, whose sentence this is already: the message is the reference's to the byte.
  return errno === enoent ? new NetnsNotFoundError(text) : new Error(text);
}
