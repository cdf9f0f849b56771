import {createServer, type Server, type Socket} from 'node:net';
import {join} from 'node:path';
import type {Logger} from '../../lib/log.ts';
import {peerCredentials} from '../../lib/netns/native.ts';
import {listenOnPath, type UnixSocket} from '../unix-socket.ts';
import {callerIsGone, findDifference, readSurroundings, type Surroundings} from './caller.ts';
import type {PluginCalls} from './calls.ts';
import type {CniMetrics} from './metrics.ts';
import type {WarmAnswer, WarmRequest} from './protocol.ts';
import {serveCall, undoCall, type Serving} from './serve.ts';
import {Session, type SessionHandler} from './session.ts';
import {Slots} from './slots.ts';
import {Turns} from './turns.ts';

export interface CniServerOptions {
  readonly path: string;
  readonly calls: PluginCalls;
  readonly maxCalls: number;
  readonly log: Logger;
  readonly metrics: CniMetrics;
  /** What the requests of all calls together may take. */
  readonly maxBytes?: number;
  /** How long a client may take to ask and to say `go`. */
  readonly timeoutMs?: number;
}

/** Of the requests of all calls together. */
const mostBytes = 128 << 20;
const tooMuch = 'too much is being asked at once';

/** Serves plugin calls on a socket for root. */
export class CniServer implements SessionHandler {
  readonly timeoutMs: number;
  readonly #options: CniServerOptions;
  readonly #surroundings: Surroundings;
  readonly #sessions = new Set<Session>();
  readonly #serving: Serving;
  readonly #server: Server;
  #socket: UnixSocket | undefined;
  #isStopping = false;

  constructor(options: CniServerOptions) {
    this.#options = options;
    this.timeoutMs = options.timeoutMs ?? 10_000;
    this.#serving = {calls: options.calls, turns: new Turns(), slots: new Slots({count: 8, patienceMs: 20})};
    this.#surroundings = readSurroundings(options.calls.trailer);
    this.#server = createServer((socket) => this.#accept(socket));
  }

  /** Calls that are under way, or will be when their client says so. */
  get size(): number {
    let count = 0;
    for (const {isPromised} of this.#sessions) if (isPromised) count++;
    return count;
  }

  async start(): Promise<void> {
    this.#socket = await listenOnPath(this.#server, {path: this.#options.path});
  }

  /**
   * Takes no further calls, and finishes those under way. Who asked and has no promise yet is sent away, to run the plugin
   * itself; who has one is served.
   */
  async stop(): Promise<void> {
    this.#isStopping = true;
    this.#socket?.remove();
    this.#server.close();
    for (const session of this.#sessions) session.refuseUnlessReady('the agent is stopping');
    while (this.#sessions.size > 0) await Promise.all([...this.#sessions].map(({over}) => over));
  }

  refusal(request: WarmRequest, socket: Socket): string | undefined {
    const reason = this.#refusal(request, socket);
    if (reason === undefined) return undefined;
    const facts = {plugin: request.name, caller: request.pid, reason};
    if (reason === callerIsGone) this.#options.log.info(facts, 'a caller did not wait');
    else {
      this.#options.metrics.refused.inc();
      this.#options.log.warn(facts, 'a call is left to its own process');
    }
    return reason;
  }

  #refusal(request: WarmRequest, socket: Socket): string | undefined {
    const {calls, maxCalls} = this.#options;
    if (this.#isStopping) return 'the agent is stopping';
    if (this.size >= maxCalls) return `more than ${maxCalls} calls at once`;
    if (this.#isFull()) return tooMuch;
    if (!calls.has(request.name)) return `no plugin "${request.name}"`;
    return findDifference(request, peerCredentials(descriptorOf(socket)), this.#surroundings);
  }

  async serve(request: WarmRequest, isGone: () => boolean): Promise<WarmAnswer> {
    const {metrics} = this.#options;
    const startedMs = performance.now();
    const answer = await serveCall(request, this.#serving, isGone);
    const labels = {plugin: request.name, command: commandOf(request)};
    metrics.calls.inc({...labels, code: answer.exitCode});
    metrics.seconds.observe(labels, (performance.now() - startedMs) / 1000);
    return answer;
  }

  async undelivered(request: WarmRequest, {exitCode}: WarmAnswer): Promise<void> {
    const {metrics, log} = this.#options;
    const facts = {
      plugin: request.name,
      command: commandOf(request),
      containerId: request.env['CNI_CONTAINERID'],
    };
    metrics.undelivered.inc();
    log.warn({...facts, exitCode}, 'the caller was gone before it could have the answer');
    if (request.env['CNI_COMMAND'] !== 'ADD' || exitCode !== 0) return;
    const undone = await undoCall(request, this.#serving);
    if (undone.exitCode !== 0) log.error({...facts, answer: undone.stdout}, 'could not take an ADD back');
  }

  #accept(socket: Socket): void {
    const session = new Session(socket, this);
    this.#sessions.add(session);
    void session.over
      .catch((error: unknown) => this.#options.log.error({error}, 'a call came to nothing'))
      .finally(() => this.#sessions.delete(session));
    socket.on('data', () => {
      if (session.isIncomplete && this.#isFull()) session.refuseUnlessReady(tooMuch);
    });
  }

  #isFull(): boolean {
    let bytes = 0;
    for (const {size} of this.#sessions) bytes += size;
    return bytes > (this.#options.maxBytes ?? mostBytes);
  }
}

/** What a figure is labelled with: never what a caller makes up. */
function commandOf({env}: WarmRequest): string {
  const command = env['CNI_COMMAND'] ?? '';
  return ['ADD', 'DEL', 'CHECK', 'GC', 'STATUS', 'VERSION'].includes(command) ? command : 'other';
}

/** Not in Node's interface: the descriptor of a connection. */
function descriptorOf(socket: Socket): number {
  const {_handle: handle} = socket as unknown as {readonly _handle?: {readonly fd: number}};
  if (!handle) throw new Error('the connection is closed');
  return handle.fd;
}

export function defaultSocketPath(runDir: string): string {
  return join(runDir, 'cni.sock');
}
