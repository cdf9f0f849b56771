import type {Logger} from '../../../lib/log.ts';
import {pauseMs, rest, type Pace} from '../../outbound/backoff.ts';
import {ApiError, parseObject, type KubeApi} from './api.ts';
import {nodeOf, type ApiNode, type KubeNode} from './node.ts';

export interface NodeStoreOptions {
  readonly api: KubeApi;
  readonly annotationPrefix: string;
  readonly log: Logger;
  readonly retry: Pace;
  /** Nodes of one page of the list: what is parsed in one go. */
  readonly pageSize: number;
  /** How long the server is asked to keep a watch open; doubled by chance. */
  readonly watchSeconds: number;
  /** A watch is broken when nothing comes for so long: bookmarks come every minute. */
  readonly idleMs: number;
  readonly onChange: () => void;
  readonly onFault: (error: Error) => void;
  readonly onHealthy: () => void;
}

// An open stream that was quiet for so long works.
const quietMs = 500;

/** What was known is too old to go on from: everything has to be listed again. */
class GoneError extends Error {
  override readonly name = 'GoneError';
}

interface WatchLine {
  readonly type?: string;
  readonly object?: ApiNode & {readonly code?: number; readonly message?: string};
}

/** The nodes of a cluster, kept current: listed in pages once, then watched; listed again only when Kubernetes says so. */
export class NodeStore {
  readonly #options: NodeStoreOptions;
  readonly #closed = new AbortController();
  #nodes = new Map<string, KubeNode>();
  /** Of each node: what of it matters, as text. Most updates (kubelet's heartbeat) change none of it. */
  #signatures = new Map<string, string>();
  #revision = '';
  #isListed = false;
  #relist: AbortController | undefined;
  #waiting: (() => void)[] = [];
  #done: Promise<void> | undefined;

  constructor(options: NodeStoreOptions) {
    this.#options = options;
  }

  get isListed(): boolean {
    return this.#isListed;
  }

  get revision(): string {
    return this.#revision;
  }

  get nodes(): ReadonlyMap<string, KubeNode> {
    return this.#nodes;
  }

  start(): void {
    this.#done = this.#follow();
  }

  async close(): Promise<void> {
    this.#closed.abort(new Error('closed'));
    for (const wake of this.#waiting.splice(0)) wake();
    await this.#done;
  }

  /** Takes in what a patch of ours answered, before the watch tells it. */
  learn(node: ApiNode): void {
    this.#take(node);
  }

  /** Lists everything again; rejects when that was not done within the time. */
  async relist(timeoutMs: number): Promise<void> {
    const {promise, resolve, reject} = Promise.withResolvers<void>();
    const timer = setTimeout(
      () => reject(new Error(`Kubernetes did not answer within ${timeoutMs} ms`)),
      timeoutMs,
    );
    this.#waiting.push(resolve);
    this.#relist?.abort(new GoneError('asked to list again'));
    try {
      await promise;
    } finally {
      clearTimeout(timer);
      this.#waiting = this.#waiting.filter((each) => each !== resolve);
    }
  }

  async #follow(): Promise<void> {
    const {log, retry, onFault} = this.#options;
    const {signal} = this.#closed;
    let mustList = true;
    for (let failures = 0; !signal.aborted;) {
      try {
        // Who asks while a list is on its way wants one that began later.
        while (mustList || this.#waiting.length > 0) {
          await this.#list();
          mustList = false;
          if (signal.aborted) return;
        }
        const openedAt = performance.now();
        await this.#watch(() => {
          failures = 0;
        });
        // Ended in peace: the server does that every few minutes. A proxy may do it at once, each time.
        if (performance.now() - openedAt < 1000) await rest(pauseMs(failures++, retry), signal);
      } catch (error) {
        if (signal.aborted) return;
        if (error instanceof GoneError || isTooOld(error)) {
          mustList = true;
          log.info({reason: (error as Error).message}, 'all nodes are listed again');
          if (failures++ === 0) continue;
        } else {
          onFault(error as Error);
          failures++;
        }
        const asked = error instanceof ApiError ? error.retryAfterMs : 0;
        await rest(Math.max(asked, pauseMs(failures - 1, retry)), signal);
      }
    }
  }

  async #list(): Promise<void> {
    const {api, annotationPrefix, pageSize, onChange} = this.#options;
    const waiting = [...this.#waiting];
    const nodes = new Map<string, KubeNode>();
    let next = '';
    let revision: string | undefined;
    do {
      const query = new URLSearchParams({limit: String(pageSize), ...(next !== '' && {continue: next})});
      const page = (await api.get(`/api/v1/nodes?${query.toString()}`)) as {
        readonly metadata?: {readonly resourceVersion?: string; readonly continue?: string};
        readonly items?: readonly ApiNode[];
      };
      if (!Array.isArray(page.items)) throw new Error('not an answer of Kubernetes: a list without items');
      for (const item of page.items as readonly ApiNode[]) {
        const node = nodeOf(item, annotationPrefix);
        nodes.set(node.name, node);
      }
      revision ??= page.metadata?.resourceVersion;
      next = page.metadata?.continue ?? '';
      if (this.#closed.signal.aborted) return;
    } while (next !== '');
    this.#signatures = new Map([...nodes].map(([name, node]) => [name, JSON.stringify(node)]));
    // The same object for what is the same: who compares is quick.
    for (const [name, node] of nodes) {
      const known = this.#nodes.get(name);
      if (known !== undefined && JSON.stringify(known) === JSON.stringify(node)) nodes.set(name, known);
    }
    this.#nodes = nodes;
    this.#revision = revision ?? '';
    this.#isListed = true;
    this.#waiting = this.#waiting.filter((each) => !waiting.includes(each));
    for (const wake of waiting) wake();
    onChange();
  }

  async #watch(onLife: () => void): Promise<void> {
    const {api, watchSeconds, idleMs, onHealthy} = this.#options;
    this.#relist = new AbortController();
    const query = new URLSearchParams({
      watch: 'true',
      allowWatchBookmarks: 'true',
      resourceVersion: this.#revision,
      timeoutSeconds: String(Math.round(watchSeconds * (1 + Math.random()))),
    });
    const signal = AbortSignal.any([this.#closed.signal, this.#relist.signal]);
    let quiet: NodeJS.Timeout | undefined;
    try {
      const lines = await api.stream(`/api/v1/nodes?${query.toString()}`, {signal, idleMs});
      // Where nothing happens nothing comes until the first bookmark; what is broken ends before.
      quiet = setTimeout(onHealthy, quietMs);
      for await (const line of lines) {
        this.#handle(parseObject(line) as WatchLine);
        if (quiet !== undefined) onHealthy();
        clearTimeout(quiet);
        quiet = undefined;
        onLife();
      }
    } catch (error) {
      if (this.#relist.signal.aborted) throw this.#relist.signal.reason;
      throw error;
    } finally {
      clearTimeout(quiet);
    }
  }

  #handle({type, object}: WatchLine): void {
    if (object === undefined) throw new Error('not an answer of Kubernetes: an event without object');
    if (type === 'ERROR') {
      const message = object.message ?? 'unknown';
      if (object.code === 410) throw new GoneError(message);
      throw new ApiError(object.code ?? 500, `the watch ended with ${object.code ?? 'an error'}: ${message}`);
    }
    const changed =
      type === 'DELETED'
        ? this.#drop(object.metadata?.name ?? '')
        : type !== 'BOOKMARK' && this.#take(object);
    this.#revision = object.metadata?.resourceVersion ?? this.#revision;
    if (changed) this.#options.onChange();
  }

  #take(object: ApiNode): boolean {
    const node = nodeOf(object, this.#options.annotationPrefix);
    const signature = JSON.stringify(node);
    if (this.#signatures.get(node.name) === signature) return false;
    this.#signatures.set(node.name, signature);
    this.#nodes.set(node.name, node);
    return true;
  }

  #drop(name: string): boolean {
    this.#signatures.delete(name);
    return this.#nodes.delete(name);
  }
}

function isTooOld(error: unknown): boolean {
  return error instanceof ApiError && error.status === 410;
}
