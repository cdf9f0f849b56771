import {once} from 'node:events';
import {createInterface} from 'node:readline';
import type {TestHost} from './host.ts';
import {repository} from './paths.ts';

/** What a witness saw. */
export interface WitnessReport {
  /** UDP packets, each of which asks for an answer. */
  readonly sent: number;
  readonly lost: number;
  readonly reordered: number;
  readonly duplicated: number;
  /** Packets the sender's own host would not take. */
  readonly refused: number;
  /** Where packets in a row were lost, in milliseconds from the first packet. */
  readonly windows: readonly {readonly fromMs: number; readonly packets: number; readonly lengthMs: number}[];
  readonly longestLossMs: number;
  /** One connection that carried a message for each UDP packet; `closed` says why it ended before its time. */
  readonly tcp: {
    readonly sent: number;
    readonly answered: number;
    readonly longestStallMs: number;
    readonly closed: string | null;
  };
}

/** A place packets come from or go to: a namespace of a host, or (without name) the host itself. */
export interface Place {
  readonly host: TestHost;
  readonly netns?: string | undefined;
}

/** Traffic that runs until it is asked what it saw. */
export interface Witness {
  report(): Promise<WitnessReport>;
}

const worker = `${repository}/integration/harness/overlay-witness-worker.ts`;
const serving = new WeakMap<TestHost, Set<string>>();
const port = 7007;

/**
 * Starts numbered UDP and TCP traffic between two pods, and returns when both flow. Packets go every `intervalMs`
 * (20) and are to be answered.
 */
export async function startWitness(
  from: Place,
  to: Place & {readonly address: string},
  {intervalMs = 20}: {readonly intervalMs?: number} = {},
): Promise<Witness> {
  await serve(to);
  const child = start(from, 'pipe', 'probe', to.address, String(port), String(intervalMs));
  const lines = createInterface({input: child.stdout!});
  const [said] = (await Promise.race([
    once(lines, 'line'),
    once(child, 'exit').then(([code]) => [`the witness ended with ${code}`]),
  ])) as [string];
  if (said !== 'ready') throw new Error(`witness to ${to.address}: ${said}`);
  return {
    async report() {
      const answered = once(lines, 'line') as Promise<[string]>;
      child.stdin!.end();
      const [line] = await answered;
      return JSON.parse(line.replace('report ', '')) as WitnessReport;
    },
  };
}

/** How many requests of four bytes one connection has answered per second, one after the other. */
export async function measureRequests(
  from: Place,
  to: Place & {readonly address: string},
  seconds: number,
): Promise<number> {
  await serve(to);
  const child = start(from, undefined, 'ask', to.address, String(port), String(seconds));
  const [line] = (await once(createInterface({input: child.stdout!}), 'line')) as [string];
  return Number(/^answered (\d+)$/.exec(line)?.[1]) / seconds;
}

/** One server per place, however many ask it. */
async function serve(place: Place): Promise<void> {
  const places = serving.get(place.host) ?? new Set();
  serving.set(place.host, places);
  const name = place.netns ?? '';
  if (places.has(name)) return;
  places.add(name);
  const child = start(place, undefined, 'serve', String(port));
  child.once('exit', () => places.delete(name));
  await once(child.stdout!, 'data');
}

function start({host, netns}: Place, stdin: 'pipe' | undefined, ...args: string[]) {
  const argv = [process.execPath, '--no-warnings', worker, ...args];
  const command = netns === undefined ? argv : host.inNetns(netns, argv);
  return host.start(command, stdin === undefined ? {} : {stdin});
}
