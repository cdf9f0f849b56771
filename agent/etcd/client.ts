import type {Logger} from '../../lib/log.ts';
import {openStream, sendRequest} from '../outbound/http.ts';
import type {HttpAgents} from '../outbound/http-agents.ts';
import {Endpoints} from './endpoints.ts';
import {errorOf, errorOfWire, EtcdError, isFaultOfEndpoint, parseAnswer} from './errors.ts';
import {
  compareOf,
  encode,
  endOfPrefix,
  keyValueOf,
  operationOf,
  type Compare,
  type KeyValue,
  type Operation,
  type WireError,
  type WireRange,
  type WireTxn,
} from './wire.ts';

const unauthenticated = 16;
// A token that a restarted member has forgotten, one that ran out, and none where one is needed.
const needsToken = /invalid auth token|revision of auth store is old|user name is empty/;

export interface EtcdClientOptions {
  readonly endpoints: readonly string[];
  readonly agents: HttpAgents;
  /** Read when a token is needed: passwords may change. */
  readonly credentials?: (() => {readonly name: string; readonly password: string}) | undefined;
  /** For one attempt at one endpoint. */
  readonly requestTimeoutMs: number;
  readonly log: Logger;
}

export interface RangeResult {
  readonly revision: number;
  readonly cluster: string;
  readonly kvs: readonly KeyValue[];
}

export interface TxnResult {
  readonly revision: number;
  readonly succeeded: boolean;
  /** What the ranges of the branch found, in order; undefined for a key that is not there. */
  readonly found: readonly (KeyValue | undefined)[];
}

/**
 * etcd 3.4 and later through its JSON gateway (`/v3/…`), so that HTTP is all it takes. Every attempt has a deadline; an
 * endpoint that fails is left for the next one; a token that is refused is renewed. Throws EtcdError for what etcd says,
 * and an Error that names every endpoint and its reason when none answers.
 */
export class EtcdClient {
  readonly endpoints: Endpoints;
  readonly #options: EtcdClientOptions;
  readonly #closed = new AbortController();
  #token: Promise<string> | undefined;

  constructor(options: EtcdClientOptions) {
    this.#options = options;
    this.endpoints = new Endpoints(options.endpoints);
  }

  /** All keys that begin with `prefix`, of one revision however many pages it takes. */
  async list(prefix: string, {pageSize = 2000}: {readonly pageSize?: number} = {}): Promise<RangeResult> {
    const kvs: KeyValue[] = [];
    const end = endOfPrefix(prefix);
    let revision: number | undefined;
    for (let key = encode(prefix); ;) {
      const page: WireRange = await this.call('kv/range', {
        key,
        range_end: end,
        limit: String(pageSize),
        ...(revision === undefined ? {} : {revision: String(revision)}),
      });
      revision ??= Number(page.header?.revision ?? 0);
      kvs.push(...(page.kvs ?? []).map(keyValueOf));
      if (page.more !== true) return {revision, cluster: page.header?.cluster_id ?? '', kvs};
      key = encode(`${kvs.at(-1)!.key}\0`);
    }
  }

  /** How many keys begin with `prefix`, and the revision of the last change to one of them. */
  async probe(prefix: string): Promise<{readonly count: number; readonly modRevision: number}> {
    const answer: WireRange = await this.call('kv/range', {
      key: encode(prefix),
      range_end: endOfPrefix(prefix),
      limit: '1',
      keys_only: true,
      sort_order: 'DESCEND',
      sort_target: 'MOD',
    });
    return {count: Number(answer.count ?? 0), modRevision: Number(answer.kvs?.[0]?.mod_revision ?? 0)};
  }

  /**
   * Does `then` if every comparison holds, else `otherwise`. It may have been done even if this throws, or though an
   * earlier attempt of it seemed to fail: callers look at what is there before they try again.
   */
  async txn(
    compare: readonly Compare[],
    then: readonly Operation[],
    otherwise: readonly Operation[] = [],
  ): Promise<TxnResult> {
    const answer: WireTxn = await this.call('kv/txn', {
      compare: compare.map(compareOf),
      success: then.map(operationOf),
      failure: otherwise.map(operationOf),
    });
    return {
      revision: Number(answer.header?.revision ?? 0),
      succeeded: answer.succeeded === true,
      found: (answer.responses ?? []).flatMap(({response_range: range}) => {
        if (range === undefined) return [];
        const [kv] = range.kvs ?? [];
        return [kv && keyValueOf(kv)];
      }),
    };
  }

  /** A lease of this many seconds: its id. */
  async grantLease(ttlS: number): Promise<string> {
    const {ID: id} = await this.call<{ID?: string}>('lease/grant', {TTL: String(ttlS)});
    if (id === undefined) throw new Error('etcd granted a lease without an id');
    return id;
  }

  /** Renews a lease: the seconds it has from now on, 0 when there is no such lease any more. */
  async keepLeaseAlive(id: string): Promise<number> {
    const {result} = await this.call<{result?: {TTL?: string}}>('lease/keepalive', {ID: id});
    return Number(result?.TTL ?? 0);
  }

  /** What a lease was granted for, in seconds; 0 when there is none. */
  async grantedTtl(id: string): Promise<number> {
    const {grantedTTL} = await this.call<{grantedTTL?: string}>('lease/timetolive', {ID: id});
    return Number(grantedTTL ?? 0);
  }

  /** One request to whichever endpoint answers. */
  async call<Answer>(method: string, body: object): Promise<Answer> {
    const reasons = new Map<string, string>();
    const attempts = Math.max(2, this.endpoints.count);
    for (let attempt = 0; attempt < attempts; attempt++) {
      const url = this.endpoints.current;
      try {
        return await this.#callWithToken<Answer>(url, method, body);
      } catch (error) {
        if (!isFaultOfEndpoint(error) || this.#closed.signal.aborted) throw error;
        reasons.set(url.origin, (error as Error).message);
        this.#fail(url, error);
      }
    }
    throw new Error(`no endpoint answers: ${[...reasons].map((pair) => pair.join(': ')).join('; ')}`);
  }

  /** Opens a stream of answers at the current endpoint: their lines, or the error it answered with. */
  async stream(
    method: string,
    body: object,
    {signal, idleMs}: {readonly signal: AbortSignal; readonly idleMs: number},
  ): Promise<{readonly url: URL; readonly lines: AsyncIterable<string>}> {
    const url = this.endpoints.current;
    try {
      for (let attempt = 0; ; attempt++) {
        const opened = await openStream({
          ...this.#requestOf(url, method, body),
          // Without it, a member that has lost the others would stay silent.
          headers: {...(await this.#headers(url)), 'grpc-metadata-hasleader': 'true'},
          signal,
          idleMs,
        });
        if ('lines' in opened) return {url, lines: opened.lines};
        const error = errorOf(opened.answer);
        if (attempt > 0 || !this.noteRefusedToken(error)) throw error;
      }
    } catch (error) {
      if (!signal.aborted && isFaultOfEndpoint(error)) this.#fail(url, error);
      throw error;
    }
  }

  /** Ends everything that is under way. */
  close(): void {
    this.#closed.abort(new Error('closed'));
    this.#options.agents.close();
  }

  #fail(url: URL, error: unknown): void {
    this.#options.log.debug({endpoint: url.origin, error}, 'endpoint of etcd failed');
    // It may have a new certificate, or want one of us.
    this.#options.agents.refresh();
    this.endpoints.fail(url);
  }

  async #callWithToken<Answer>(url: URL, method: string, body: object): Promise<Answer> {
    for (let attempt = 0; ; attempt++) {
      try {
        return await this.#callAt<Answer>(url, method, body, await this.#headers(url));
      } catch (error) {
        if (attempt > 0 || !this.noteRefusedToken(error)) throw error;
      }
    }
  }

  /** Whether a token was refused: then the next request gets another one. */
  noteRefusedToken(error: unknown): boolean {
    if (this.#options.credentials === undefined || !(error instanceof Error)) return false;
    const isRefused = error instanceof EtcdError && error.code === unauthenticated;
    if (!isRefused && !needsToken.test(error.message)) return false;
    this.#token = undefined;
    return true;
  }

  async #headers(url: URL): Promise<Record<string, string>> {
    const {credentials} = this.#options;
    if (credentials === undefined) return {};
    this.#token ??= this.#callAt<{token?: string}>(url, 'auth/authenticate', credentials(), {}).then(
      ({token = ''}) => token,
    );
    const mine = this.#token;
    try {
      return {authorization: await mine};
    } catch (error) {
      if (this.#token === mine) this.#token = undefined;
      throw error;
    }
  }

  #requestOf(url: URL, method: string, body: object) {
    return {
      url: new URL(`/v3/${method}`, url),
      method: 'POST' as const,
      body: JSON.stringify(body),
      agent: this.#options.agents.for(url),
      timeoutMs: this.#options.requestTimeoutMs,
      signal: this.#closed.signal,
    };
  }

  async #callAt<Answer>(
    url: URL,
    method: string,
    body: object,
    headers: Record<string, string>,
  ): Promise<Answer> {
    const answer = await sendRequest({...this.#requestOf(url, method, body), headers});
    if (answer.status !== 200) throw errorOf(answer);
    const parsed = parseAnswer(answer.body) as Answer & {error?: WireError};
    // Streams say their errors within an answer of status 200.
    if (parsed.error !== undefined) throw errorOfWire(parsed.error);
    return parsed;
  }
}
