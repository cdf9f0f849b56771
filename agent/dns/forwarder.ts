import {AnswerCache, type CacheOptions} from './cache.ts';
import {rcode} from './constants.ts';
import {isBelow} from './name.ts';
import type {Query} from './query.ts';
import {relay, type Upstream} from './relay.ts';

export interface ForwarderOptions {
  /** The host's servers, as they are now. */
  readonly hostUpstreams: () => readonly Upstream[];
  /** Other servers for names below a zone; the longest zone that fits counts. */
  readonly zones: ReadonlyMap<string, readonly Upstream[]>;
  /** Addresses we listen on: asking them would go round in circles. */
  readonly isOwn: (upstream: Upstream) => boolean;
  /** How long one server is waited for. */
  readonly timeoutMs: number;
  readonly maxInFlight: number;
  readonly cache?: CacheOptions;
  /** Milliseconds of a clock that only goes forward. */
  readonly now?: () => number;
}

export interface ForwarderFigures {
  inFlight: number;
  cacheHits: number;
  staleAnswers: number;
  asked: number;
  failed: number;
  refused: number;
}

/** The most servers asked for one question, as in resolv.conf(5). */
const maxUpstreams = 3;
const mask = 0xf;

/** Asks other servers for names that are none of ours. */
export class Forwarder {
  readonly #options: ForwarderOptions;
  readonly #cache: AnswerCache;
  readonly #now: () => number;
  /** The same question of several clients is asked once. */
  readonly #asking = new Map<string, Promise<Buffer | undefined>>();
  readonly figures: ForwarderFigures = {
    inFlight: 0,
    cacheHits: 0,
    staleAnswers: 0,
    asked: 0,
    failed: 0,
    refused: 0,
  };

  constructor(options: ForwarderOptions) {
    this.#options = options;
    this.#cache = new AnswerCache(options.cache);
    this.#now = options.now ?? (() => performance.now());
  }

  /** What is remembered may be wrong now: other servers are asked, or the network changed. */
  forget(): void {
    this.#cache.clear();
  }

  /**
   * The answer to a message that holds `query`; undefined when nobody gave one. `upstreams`: the network's own servers,
   * in place of the host's.
   */
  async forward(
    message: Buffer,
    query: Query,
    {upstreams, transport}: {readonly upstreams: readonly Upstream[]; readonly transport: 'udp' | 'tcp'},
  ): Promise<Buffer | undefined> {
    const servers = this.#serversFor(query.name, upstreams);
    const scope = servers.map(({address, port}) => `${address} ${port}`).join(',');
    const known = this.#cache.find(query, scope, {nowMs: this.#now(), stale: false});
    if (known) {
      this.figures.cacheHits++;
      return known;
    }
    if (this.figures.inFlight >= this.#options.maxInFlight) {
      this.figures.refused++;
      return undefined;
    }
    const answer = await this.#ask(message, query, {servers, scope, transport});
    if (answer) return answer;
    const stale = this.#cache.find(query, scope, {nowMs: this.#now(), stale: true});
    if (stale) this.figures.staleAnswers++;
    else this.figures.failed++;
    return stale;
  }

  #serversFor(name: string, upstreams: readonly Upstream[]): readonly Upstream[] {
    const {zones, hostUpstreams, isOwn} = this.#options;
    let zone: string | undefined;
    for (const each of zones.keys()) {
      if (isBelow(name, each) && each.length > (zone?.length ?? -1)) zone = each;
    }
    const chosen = zone !== undefined ? zones.get(zone)! : upstreams.length > 0 ? upstreams : hostUpstreams();
    return chosen.filter((each) => !isOwn(each)).slice(0, maxUpstreams);
  }

  async #ask(
    message: Buffer,
    query: Query,
    {
      servers,
      scope,
      transport,
    }: {
      readonly servers: readonly Upstream[];
      readonly scope: string;
      readonly transport: 'udp' | 'tcp';
    },
  ): Promise<Buffer | undefined> {
    // The whole message but its id: with the same options, the answer is the same.
    const key = `${transport} ${scope} ${message.toString('latin1', 2)}`;
    let asking = this.#asking.get(key);
    if (asking === undefined) {
      asking = this.#askInTurn(message, servers, transport);
      this.#asking.set(key, asking);
      this.figures.inFlight++;
      void asking
        .then((answer) => answer && this.#cache.put(query, scope, answer, this.#now()))
        .finally(() => {
          this.#asking.delete(key);
          this.figures.inFlight--;
        });
    }
    const answer = await asking;
    if (answer === undefined) return undefined;
    const own = Buffer.from(answer);
    own.writeUInt16BE(query.id, 0);
    return own;
  }

  /** One server after the other, until one has an answer; the last that refused is better than none. */
  async #askInTurn(
    message: Buffer,
    servers: readonly Upstream[],
    transport: 'udp' | 'tcp',
  ): Promise<Buffer | undefined> {
    const {timeoutMs} = this.#options;
    let last: Buffer | undefined;
    for (const server of servers) {
      this.figures.asked++;
      const answer = await relay(message, server, {transport, timeoutMs});
      if (answer === undefined) continue;
      last = answer;
      const code = answer.readUInt16BE(2) & mask;
      if (code !== rcode.serverFailure && code !== rcode.refused) return answer;
    }
    return last;
  }
}
