import {spawn} from 'node:child_process';
import {readFileSync} from 'node:fs';
import path from 'node:path';
import {createInterface} from 'node:readline';
import {configurationOf, countCalls, countingCalls, type Conflist} from '../integration/harness/chain.ts';

/*
 * Run by chain.ts on a host of its own: takes one order per line of stdin, calls a chain's plugins as a runtime
 * does, and answers with one line each.
 */

/** What a worker is told on its command line. */
export interface Setting {
  readonly conflist: Conflist;
  readonly dir: string;
  readonly env: Readonly<Record<string, string>>;
}

/** A verb for the container with this number; `how` it is looked at. */
export interface Order {
  readonly verb: 'ADD' | 'DEL' | 'VERSION';
  readonly container: number;
  readonly how: 'timed' | 'counted' | 'syscalls';
}

/** One plugin's share of an order. */
export interface Share {
  readonly type: string;
  readonly ms: number;
  readonly processes?: number;
  readonly sends?: number;
  readonly syscalls?: number;
}

/** What a worker answers: its plugins' shares, or what went wrong. */
export interface Answer {
  readonly shares: readonly Share[];
  /** Processor time of all plugins so far, with those they started. */
  readonly cpuMs: number;
  readonly error?: string;
}

const {conflist, dir, env} = JSON.parse(process.argv[2] ?? '{}') as Setting;
const results = new Map<number, string>();
const tracers = {
  timed: [],
  counted: countingCalls('/run/trace'),
  syscalls: [countingCalls('')[0]!, '-f', '-c', '-o', '/run/trace'],
} as const;

const lines = createInterface({input: process.stdin});
lines.on('line', (line) => {
  const answer = (rest: Omit<Answer, 'cpuMs'>) =>
    console.log(JSON.stringify({...rest, cpuMs: childrensCpuMs()} satisfies Answer));
  obey(JSON.parse(line) as Order).then(
    (shares) => answer({shares}),
    (error: unknown) => answer({shares: [], error: String(error)}),
  );
});

/** Processor time of the children that have ended (proc(5): fields 16 and 17 of stat, in hundredths of a second). */
function childrensCpuMs(): number {
  const fields = readFileSync('/proc/self/stat', 'utf8')
    .replace(/^.*\) /, '')
    .split(' ');
  return (Number(fields[13]) + Number(fields[14])) * 10;
}

async function obey({verb, container, how}: Order): Promise<Share[]> {
  const shares: Share[] = [];
  let previous = verb === 'DEL' ? results.get(container) : undefined;
  for (const plugin of verb === 'ADD' ? conflist.plugins : conflist.plugins.toReversed()) {
    const {type} = plugin;
    const portMappings = [{hostPort: 8000 + container, containerPort: 80, protocol: 'tcp'}];
    const conf = JSON.stringify({
      ...configurationOf(conflist, plugin, {portMappings}),
      ...(previous !== undefined && {prevResult: JSON.parse(previous) as unknown}),
    });
    const command = [...tracers[how], path.join(dir, type)];
    const started = performance.now();
    const result = await call(command, verb, container, conf);
    shares.push({type, ms: performance.now() - started, ...look(how)});
    if (verb === 'ADD') previous = result;
  }
  if (verb === 'ADD' && previous !== undefined) results.set(container, previous);
  return shares;
}

function look(how: Order['how']): Omit<Share, 'type' | 'ms'> {
  if (how === 'timed') return {};
  const trace = readFileSync('/run/trace', 'utf8');
  if (how === 'counted') return countCalls(trace);
  return {syscalls: Number(/^100\.00 +\S+ +(?:\S+ +)?(\d+) +(?:\d+ +)?total$/m.exec(trace)?.[1])};
}

function call(
  [file = '', ...args]: readonly string[],
  verb: string,
  container: number,
  conf: string,
): Promise<string> {
  const {promise, resolve, reject} = Promise.withResolvers<string>();
  const child = spawn(file, args, {
    env: {
      ...env,
      CNI_COMMAND: verb,
      CNI_CONTAINERID: `bench-${String(container).padStart(3, '0')}`.padEnd(64, '0'),
      CNI_NETNS: `/run/netns/pod-${container}`,
      CNI_IFNAME: 'eth0',
      CNI_PATH: dir,
    },
    stdio: ['pipe', 'pipe', 'pipe'],
  });
  let [stdout, stderr] = ['', ''];
  child.stdout.on('data', (chunk: Buffer) => (stdout += chunk.toString()));
  child.stderr.on('data', (chunk: Buffer) => (stderr += chunk.toString()));
  child.on('error', reject);
  child.on('close', (code) => {
    if (code === 0) resolve(stdout);
    else reject(new Error(`${verb} of ${file}: exit ${code}: ${stdout} ${stderr}`));
  });
  child.stdin.on('error', () => {});
  child.stdin.end(conf);
  return promise;
}
