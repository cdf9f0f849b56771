import {maxTcpSize, maxUdpSize, plainUdpSize, rcode} from '../dns/constants.ts';
import type {Forwarder} from '../dns/forwarder.ts';
import type {Client} from '../dns/listener.ts';
import type {RateLimiter} from '../dns/rate-limit.ts';
import {readQuery, type Query} from '../dns/query.ts';
import type {Upstream} from '../dns/relay.ts';
import {formatError, formatResponse, type Response} from '../dns/response.ts';
import {answer, type View} from './answer.ts';
import {everywhere} from './catalog-entries.ts';
import type {NamedNetwork} from './entry.ts';
import type {NameTable} from './table.ts';

export interface ResponderOptions {
  readonly table: NameTable;
  readonly forwarder: Pick<Forwarder, 'forward'>;
  readonly limiter: Pick<RateLimiter, 'allows'>;
  /** Whether an address is this host's own: its administrator may look at any network's names. */
  readonly isHost: (ip: string) => boolean;
  /** Told of every answer, for the figures. */
  readonly onAnswer?: (answer: {readonly network: string; readonly rcode: number}) => void;
  readonly onError?: (error: unknown, query: Query) => void;
  readonly now?: () => number;
}

const dnsPort = 53;

/** Answers the messages that come in at the server of one network. */
export class Responder {
  readonly #options: ResponderOptions;
  readonly #now: () => number;

  constructor(options: ResponderOptions) {
    this.#options = options;
    this.#now = options.now ?? (() => performance.now());
  }

  /** The answer to a message that came in at `network`'s server; nothing for a message that gets none. Never throws. */
  respond(
    network: string,
    message: Buffer,
    client: Client,
  ): Buffer | undefined | Promise<Buffer | undefined> {
    const incoming = readQuery(message);
    if (incoming.kind === 'ignore') return undefined;
    if (incoming.kind === 'error') return formatError(incoming);
    const {query} = incoming;
    try {
      return this.#answer(network, query, {message, client});
    } catch (error) {
      // A name that somebody gave is odd: that is no reason to leave all others without a server.
      this.#options.onError?.(error, query);
      return this.#format(network, query, client, failed(rcode.serverFailure));
    }
  }

  #answer(
    network: string,
    query: Query,
    {message, client}: {readonly message: Buffer; readonly client: Client},
  ): Buffer | Promise<Buffer> {
    const {table, limiter} = this.#options;
    if (!limiter.allows(client.ip, this.#now()))
      return this.#format(network, query, client, failed(rcode.refused));
    if (query.edns && query.edns.version > 0) {
      return this.#format(network, query, client, failed(rcode.badVersion));
    }
    const view = this.#viewOf(network, client);
    const found = answer(table, view, query);
    if (found !== 'forward') return this.#format(network, query, client, found);
    return this.#forward(network, view, query, {message, client});
  }

  /** The networks the client is in, the server's own first, and what all networks see. A stranger sees nothing. */
  #viewOf(network: string, {ip}: Client): View {
    const {table, isHost} = this.#options;
    if (isHost(ip)) return {networks: this.#networks([network, everywhere]), mayForward: false};
    const attached = table.networksOf(ip);
    if (attached.length === 0) return {networks: [], mayForward: false};
    const own = attached.includes(network) ? [network] : [];
    const networks = this.#networks([...own, ...attached.filter((name) => name !== network)]);
    return {
      networks: [...networks, ...this.#networks([everywhere])],
      mayForward: networks.length > 0 && !isClosed(networks),
    };
  }

  #networks(names: readonly string[]): readonly NamedNetwork[] {
    return names.map((name) => this.#options.table.findNetwork(name)).filter((each) => each !== undefined);
  }

  async #forward(
    network: string,
    {networks}: View,
    query: Query,
    {message, client}: {readonly message: Buffer; readonly client: Client},
  ): Promise<Buffer> {
    const upstreams = upstreamsOf(networks);
    const reply = await this.#options.forwarder.forward(message, query, {
      upstreams,
      transport: client.transport,
    });
    if (reply === undefined) return this.#format(network, query, client, failed(rcode.serverFailure));
    const limit = sizeLimit(query, client.transport);
    if (reply.length > limit) return this.#format(network, query, client, failed(rcode.noError, 'truncated'));
    this.#options.onAnswer?.({network, rcode: reply.readUInt16BE(2) & 0xf});
    return reply;
  }

  #format(network: string, query: Query, {transport}: Client, response: Response): Buffer {
    this.#options.onAnswer?.({network, rcode: response.rcode});
    return formatResponse(query, response, sizeLimit(query, transport));
  }
}

/** Beyond an internal network nothing is asked for; one that is also in another may ask through that. */
const isClosed = (networks: readonly NamedNetwork[]) => networks.every(({isInternal}) => isInternal);

function upstreamsOf(networks: readonly NamedNetwork[]): readonly Upstream[] {
  const own = networks.find(({upstreams, isInternal}) => !isInternal && upstreams.length > 0);
  return (own?.upstreams ?? []).map((address) => ({address, port: dnsPort}));
}

function sizeLimit({edns}: Query, transport: Client['transport']): number {
  if (transport === 'tcp') return maxTcpSize;
  return Math.min(edns?.udpSize ?? plainUdpSize, maxUdpSize);
}

function failed(code: number, truncated?: 'truncated'): Response {
  return {rcode: code, authoritative: false, recursionAvailable: true, truncated: truncated !== undefined};
}
