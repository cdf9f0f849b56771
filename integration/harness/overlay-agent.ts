import {once} from 'node:events';
import http from 'node:http';
import path from 'node:path';
import {setTimeout} from 'node:timers/promises';
import type {TestHost} from './host.ts';
import {pluginDir} from './paths.ts';

export interface AgentOptions {
  /** Return at once instead of when it says that it is ready. */
  readonly ready?: boolean;
  /** How long it may take to become ready. */
  readonly timeoutMs?: number;
  /** Put before the program: `strace …`, or another release's path as the whole command. */
  readonly under?: readonly string[];
  readonly program?: string;
  readonly env?: Readonly<Record<string, string>>;
}

/** A `weft agent` that was started on a test host. */
export interface RunningAgent {
  /** Process id as the host sees it. */
  readonly pid: number;
  /** All that it wrote. */
  readonly output: () => string;
  kill(signal: 'TERM' | 'KILL' | 'HUP' | 'STOP' | 'CONT'): Promise<void>;
  /** Resolves with its exit code, or the signal's name. */
  readonly ended: Promise<number | string>;
  /** One request to its own socket. */
  ask(method: 'GET' | 'POST', url: string): Promise<{readonly status: number; readonly body: string}>;
  /** The part of GET /status that the overlay module gives. */
  status(): Promise<OverlayStatus>;
  /** Sum of a metric's samples whose labels include these; 0 when there is none. */
  metric(name: string, labels?: Readonly<Record<string, string>>): Promise<number>;
  /** Sums of several metrics by one request. */
  metrics(): Promise<(name: string, labels?: Readonly<Record<string, string>>) => number>;
  isReady(): Promise<boolean>;
  untilReady(timeoutMs?: number): Promise<void>;
}

/** What of the overlay's status tests look at. */
export interface OverlayStatus {
  readonly networks: readonly {
    readonly name: string;
    readonly ready: boolean;
    readonly reasons: readonly string[];
    readonly subnets: readonly string[];
    readonly revision?: string;
    readonly mtu?: number;
    readonly membership: {readonly state: string; readonly reason?: string};
    readonly peers: readonly {
      readonly id: string;
      readonly state: string;
      readonly subnets: readonly string[];
      readonly underlay: readonly string[];
    }[];
    readonly differs: readonly string[];
  }[];
}

const configFile = '/etc/weft/agent.json';
const socketFile = '/run/weft/agent.sock';

/** Writes the configuration and starts the agent; by default returns when it is ready. */
export async function startOverlayAgent(
  host: TestHost,
  config: unknown,
  {ready = true, timeoutMs = 60_000, under = [], program, env = {}}: AgentOptions = {},
): Promise<RunningAgent> {
  await host.write(configFile, JSON.stringify(config, null, 2));
  const executable = program ?? path.join(pluginDir, 'weft');
  const child = host.start(
    [
      '/bin/sh',
      '-c',
      'echo "agent-pid $$"; exec "$@"',
      'sh',
      ...under,
      executable,
      'agent',
      '--config',
      configFile,
    ],
    {env},
  );
  let output = '';
  for (const stream of [child.stdout, child.stderr])
    stream?.on('data', (chunk: Buffer) => (output += chunk.toString()));
  const ended = once(child, 'exit').then(([code, signal]) => (signal ?? code) as number | string);
  await waitFor('the agent process', () => /agent-pid \d+/.test(output), {timeoutMs});
  const pid = Number(/agent-pid (\d+)/.exec(output)?.[1]);
  const ask: RunningAgent['ask'] = (method, url) => askSocket(host.path(socketFile), method, url);
  const agent: RunningAgent = {
    pid,
    output: () => output,
    ended,
    async kill(signal) {
      await host.run(['kill', `-${signal}`, String(pid)]);
      // nsenter stops with its child, and nobody else would wake it.
      if (signal === 'CONT') child.kill('SIGCONT');
      if (signal === 'TERM' || signal === 'KILL') await ended;
    },
    ask,
    async status() {
      const {status, body} = await ask('GET', '/status');
      if (status !== 200) throw new Error(`GET /status: ${status} ${body}`);
      const {modules} = JSON.parse(body) as {modules: {overlay: OverlayStatus}};
      return modules.overlay;
    },
    metric: async (name, labels) => (await agent.metrics())(name, labels),
    async metrics() {
      const {body} = await ask('GET', '/metrics');
      return (name, labels = {}) => sumOf(body, name, labels);
    },
    async isReady() {
      const reply = await ask('GET', '/readyz').catch(() => undefined);
      return reply?.status === 200;
    },
    async untilReady(deadlineMs = timeoutMs) {
      await waitFor('the agent to be ready', () => agent.isReady(), {
        timeoutMs: deadlineMs,
        stop: () => (child.exitCode === null ? undefined : `the agent ended with ${child.exitCode}`),
        explain: async () => `${(await ask('GET', '/readyz').catch(String)) as string}\n${output}`,
      });
    },
  };
  if (ready) await agent.untilReady();
  return agent;
}

/** Asks again every few milliseconds until it holds, and returns how long that took. Throws at the deadline. */
export async function waitFor(
  what: string,
  holds: () => boolean | Promise<boolean>,
  {
    timeoutMs = 60_000,
    intervalMs = 10,
    stop = () => undefined,
    explain = () => '',
  }: {
    readonly timeoutMs?: number;
    readonly intervalMs?: number;
    /** A reason to give up before. */
    readonly stop?: () => string | undefined;
    readonly explain?: () => string | Promise<string>;
  } = {},
): Promise<number> {
  const started = performance.now();
  while (!(await holds())) {
    const reason = stop();
    if (reason !== undefined) throw new Error(`${what}: ${reason}\n${await explain()}`);
    if (performance.now() - started > timeoutMs)
      throw new Error(`${what}: not within ${timeoutMs} ms\n${await explain()}`);
    await setTimeout(intervalMs);
  }
  return performance.now() - started;
}

function askSocket(
  socketPath: string,
  method: string,
  url: string,
): Promise<{readonly status: number; readonly body: string}> {
  const {promise, resolve, reject} = Promise.withResolvers<{status: number; body: string}>();
  const request = http.request({socketPath, method, path: url, timeout: 20_000, agent: false}, (response) => {
    let body = '';
    response.on('data', (chunk: Buffer) => (body += chunk.toString()));
    response.on('end', () => resolve({status: response.statusCode ?? 0, body}));
    response.on('error', reject);
  });
  request.on('timeout', () => request.destroy(new Error(`${method} ${url}: no answer`)));
  request.on('error', reject);
  request.end();
  return promise;
}

/** Reads the text format of Prometheus. */
function sumOf(text: string, name: string, labels: Readonly<Record<string, string>>): number {
  let sum = 0;
  for (const line of text.split('\n')) {
    const match = /^([a-zA-Z_:][\w:]*)(?:\{(.*)\})? (\S+)$/.exec(line);
    if (match?.[1] !== name) continue;
    const given = match[2] ?? '';
    if (Object.entries(labels).every(([key, value]) => given.includes(`${key}="${value}"`)))
      sum += Number(match[3]);
  }
  return sum;
}
