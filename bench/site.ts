import type {ChildProcess} from 'node:child_process';
import path from 'node:path';
import {createInterface} from 'node:readline';
import {startAgentOn, type TestAgent} from '../integration/harness/agent.ts';
import {ensurePackages} from '../integration/harness/debian.ts';
import {startHost, type TestHost} from '../integration/harness/host.ts';
import type {Answer, Order, Setting} from './protocol.ts';

/** Ours as processes of their own, ours through the agent, and the plugins of the peer. */
export type Kind = 'standalone' | 'warm' | 'peer';

/** A host of its own with one kind of plugins, and the process on it that calls them. */
export interface Site {
  readonly kind: Kind;
  readonly host: TestHost;
  /** Throws what the worker says went wrong. */
  ask(order: Order): Promise<Answer>;
  /** How many calls the agent served, how many it left to a process of their own, and why. */
  countCalls(): Promise<Calls | undefined>;
  close(): Promise<void>;
}

export interface Calls {
  readonly served: number;
  readonly refused: number;
  readonly reasons: readonly string[];
}

/** Far more than any order takes. */
const orderMs = 300_000;

/** Opens a host for the plugins in `dir`; for the warm kind it has an agent of `weft`. */
export async function openSite({
  kind,
  dir,
  weft,
}: {
  readonly kind: Kind;
  readonly dir: string;
  readonly weft: string;
}): Promise<Site> {
  const host = await startHost();
  try {
    const agent = kind === 'warm' ? await startAgentOn(host, {weft, config: {logLevel: 'error'}}) : undefined;
    const setting: Setting = {
      dir,
      cgroup: `${host.cgroup}/bench`,
      env: kind === 'peer' ? await findIptables(host) : {PATH: '/usr/sbin:/usr/bin:/sbin:/bin'},
      ...(agent && {agentPid: await findProcess(host, `${weft}\0agent`)}),
    };
    const script = path.join(import.meta.dirname, 'worker.ts');
    const argv = [process.execPath, '--no-warnings', script, JSON.stringify(setting)];
    const ask = talkTo(host.start(argv, {stdin: 'pipe'}), kind);
    return {kind, host, ask, countCalls: async () => agent && countCalls(agent), close: () => host.close()};
  } catch (error) {
    await host.close();
    throw error;
  }
}

async function countCalls(agent: TestAgent): Promise<Calls> {
  const {text} = await agent.get('/metrics');
  const reasons = [...text.matchAll(/^weft_cni_refused_total\{(.*)\} ([1-9]\d*)$/gm)];
  return {...(await agent.countCalls()), reasons: reasons.map(([, why, count]) => `${why}: ${count}`)};
}

function talkTo(worker: ChildProcess, kind: Kind): Site['ask'] {
  const waiting: ((answer: Answer) => void)[] = [];
  let said = '';
  createInterface({input: worker.stdout!}).on('line', (line) =>
    waiting.shift()?.(JSON.parse(line) as Answer),
  );
  worker.stderr!.on('data', (chunk: Buffer) => (said += chunk.toString()));
  worker.stdin!.on('error', () => {});
  worker.on('close', (code) => {
    for (const resolve of waiting) resolve({error: `the worker ended with ${code}: ${said}`});
  });
  return async (order) => {
    const {promise, resolve} = Promise.withResolvers<Answer>();
    const timer = setTimeout(() => resolve({error: `no answer within ${orderMs} ms`}), orderMs);
    waiting.push(resolve);
    worker.stdin!.write(`${JSON.stringify(order)}\n`);
    const answer = await promise;
    clearTimeout(timer);
    if (answer.error !== undefined) throw new Error(`${kind}: ${answer.error}`);
    return answer;
  };
}

/** The process id, on the host, of the process with this command line. */
async function findProcess(host: TestHost, commandLine: string): Promise<number> {
  const {stdout} = await host.sh(
    `for entry in /proc/[0-9]*; do
      if tr '\\0' ' ' < $entry/cmdline 2>/dev/null | grep -q "^$1"; then basename $entry; fi
    done`,
    {args: [commandLine.replaceAll('\0', ' ')]},
  );
  const pid = Number(stdout.trim().split('\n')[0]);
  if (!(pid > 0)) throw new Error(`no process ${commandLine} on the host`);
  return pid;
}

/** The programs themselves, on a PATH: the cache's scripts around them would be counted, and cost time. */
export async function findIptables(host: TestHost): Promise<Record<string, string>> {
  const root = await ensurePackages('tools');
  const lib = `${root}/usr/lib/${process.arch === 'arm64' ? 'aarch64' : 'x86_64'}-linux-gnu`;
  await host.sh(
    `mkdir /run/tools
    for tool in iptables ip6tables; do for verb in "" -save -restore; do
      ln -s "$1/usr/sbin/xtables-nft-multi" /run/tools/$tool$verb
    done; done
    ln -s "$1/usr/sbin/nft" /run/tools/nft`,
    {args: [root]},
  );
  return {
    PATH: '/run/tools:/usr/sbin:/usr/bin:/sbin:/bin',
    LD_LIBRARY_PATH: lib,
    XTABLES_LIBDIR: `${lib}/xtables`,
  };
}
