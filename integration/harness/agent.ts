import type {ChildProcess} from 'node:child_process';
import {statSync} from 'node:fs';
import {request} from 'node:http';
import path from 'node:path';
import {setTimeout as sleep} from 'node:timers/promises';
import type {TestHost} from './host.ts';
import {pluginDir} from './paths.ts';

/** A node agent on a test host; it goes with the host. */
export interface TestAgent {
  /** Its process id on the host. */
  readonly pid: number;
  /** Asks its HTTP interface: `get('/metrics')`. */
  get(route: string): Promise<{readonly code: number; readonly text: string}>;
  /** How often it served a plugin call, and how often it left one to a process of its own. */
  countCalls(): Promise<{readonly served: number; readonly refused: number}>;
  /** Its exit code, when it has ended. */
  readonly ended: Promise<number | null>;
  /** Sends a signal, SIGTERM by default, and gives the exit code. */
  stop(signal?: 'TERM' | 'KILL'): Promise<number | null>;
}

/** Runs a command of the `weft` tool on a host, with the executable that is tested. */
export const weftOnHost = path.join(pluginDir, 'weft');

/**
 * Starts `weft agent` on a host, with its sockets in /run/weft, and returns when it answers. `config` is what
 * /etc/weft/agent.json holds; `under` is put before the command line: `nsenter …`.
 */
export async function startAgentOn(
  host: TestHost,
  {
    config = {},
    weft = weftOnHost,
    under = [],
  }: {
    readonly config?: Readonly<Record<string, unknown>>;
    readonly weft?: string;
    readonly under?: readonly string[];
  } = {},
): Promise<TestAgent> {
  await host.write('/etc/weft/agent.json', JSON.stringify(config));
  // Last of what it opens; one of another agent, dead or alive, it replaces.
  const socket = host.path('/run/weft/agent.sock');
  const old = identify(socket);
  const child = host.start([...under, weft, 'agent']);
  const ended = new Promise<number | null>((resolve) => child.once('close', resolve));
  const pid = await getPid(socket, {old, child});
  const agent: TestAgent = {
    pid,
    ended,
    get: (route) => get(socket, route),
    async countCalls() {
      const {text} = await agent.get('/metrics');
      const sum = (name: string) =>
        [...text.matchAll(new RegExp(`^${name}(?:\\{[^}]*\\})? (\\d+)$`, 'gm'))].reduce(
          (total, [, value]) => total + Number(value),
          0,
        );
      return {served: sum('weft_cni_calls_total'), refused: sum('weft_cni_refused_total')};
    },
    async stop(signal = 'TERM') {
      await host.run(['kill', `-${signal}`, String(pid)]);
      return ended;
    },
  };
  return agent;
}

function get(socketPath: string, route: string): Promise<{code: number; text: string}> {
  return new Promise((resolve, reject) => {
    // Connections that are kept would lead to an agent that was replaced.
    const call = request({socketPath, path: route, timeout: 30_000, agent: false}, (response) => {
      let text = '';
      response.on('data', (chunk: Buffer) => (text += chunk.toString()));
      response.once('end', () => resolve({code: response.statusCode ?? 0, text}));
      response.once('error', reject);
    });
    call.once('timeout', () => call.destroy(new Error(`no answer to ${route}`)));
    call.once('error', reject);
    call.end();
  });
}

function identify(socket: string): number | undefined {
  return statSync(socket, {throwIfNoEntry: false})?.ino;
}

/** Waits until another socket than `old` answers. */
async function getPid(
  socket: string,
  {old, child}: {readonly old: number | undefined; readonly child: ChildProcess},
): Promise<number> {
  for (const deadline = Date.now() + 30_000; ; await sleep(10)) {
    if (child.exitCode !== null) throw new Error(`the agent ended with ${child.exitCode}`);
    try {
      if (old !== undefined && identify(socket) === old)
        throw new Error(`${socket} is that of another agent`);
      return (JSON.parse((await get(socket, '/status')).text) as {pid: number}).pid;
    } catch (cause) {
      if (Date.now() > deadline) throw new Error('the agent does not answer', {cause});
    }
  }
}
