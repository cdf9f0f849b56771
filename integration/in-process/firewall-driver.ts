import {execFileSync} from 'node:child_process';
import {text} from 'node:stream/consumers';
import type {Host} from '../../lib/host.ts';
import {plugin as firewall} from '../../plugins/firewall/plugin.ts';
import {FailingKernel, type Loss} from './failing-host.ts';
import {runVerb} from './run-verb.ts';

// Runs in a test host, the configuration with prevResult on stdin, and prints a JSON line for each run of the verb:
//   node firewall-driver.ts fail ADD|DEL   each netlink request fails in turn, on the real kernel; what is left
//   node firewall-driver.ts count          ADD, CHECK and DEL on a host that has the tables; how much was asked

/** One run of a verb. */
export interface FirewallRun {
  readonly loss?: Loss;
  readonly start?: 'cold' | 'warm';
  readonly failing?: number;
  readonly what?: string | undefined;
  readonly code: number;
  readonly stdout: string;
  readonly again?: {readonly code: number; readonly stdout: string} | undefined;
  readonly left?: readonly string[];
  readonly verb: string;
  readonly requests: readonly string[];
}

const [mode, only] = process.argv.slice(2);
const conf = await text(process.stdin);

const run = (command: string, host: Host) =>
  runVerb(firewall, {command, netns: '/run/netns/pod', conf, containerId: 'pod'}, host);

const print = (line: FirewallRun) => console.log(JSON.stringify(line));

const show = (command: string, ...args: string[]) => execFileSync(command, args, {encoding: 'utf8'});

/** Elements and bridges' policies; the tables themselves and the rule in FORWARD stay by design. */
function leftovers(): string[] {
  const {nftables} = JSON.parse(show('nft', '-j', 'list', 'ruleset')) as {
    nftables: Record<string, {readonly name?: string; readonly elem?: readonly unknown[]}>[];
  };
  return nftables.flatMap((object) =>
    Object.entries(object).flatMap(([kind, {name = '', elem = []}]) => [
      ...elem.map((each) => `${name} ${JSON.stringify(each)}`),
      ...(kind === 'chain' && /^(isolated|same-bridge)-/.test(name) ? [name] : []),
    ]),
  );
}

const undisturbed = () => new FailingKernel(-1, 'request').open();

async function failEach(verb: string, loss: Loss, start: 'cold' | 'warm'): Promise<void> {
  for (let failing = 0; ; failing++) {
    if (start === 'cold') {
      execFileSync('sh', ['-c', 'nft flush ruleset; iptables -P FORWARD DROP; ip6tables -P FORWARD DROP']);
    } else {
      await run('ADD', undisturbed());
      await run('DEL', undisturbed());
    }
    if (verb === 'DEL') await run('ADD', undisturbed());
    const kernel = new FailingKernel(failing, loss);
    const outcome = await run(verb, kernel.open());
    const {requests} = kernel;
    const asked = requests.length;
    let left = leftovers();
    let again: FirewallRun['again'];
    if (verb === 'DEL' || outcome.code === 0) {
      again = await run('DEL', undisturbed());
      left = leftovers();
    }
    print({verb, loss, start, failing, what: requests[failing], ...outcome, again, left, requests: []});
    if (failing >= asked) break;
  }
}

async function count(): Promise<void> {
  await run('ADD', undisturbed());
  await run('DEL', undisturbed());
  for (const verb of ['ADD', 'CHECK', 'DEL']) {
    const kernel = new FailingKernel(-1, 'request');
    print({verb, ...(await run(verb, kernel.open())), requests: kernel.requests});
  }
}

if (mode === 'count') await count();
else
  for (const loss of ['request', 'answer'] as const)
    for (const start of ['cold', 'warm'] as const) await failEach(only ?? 'ADD', loss, start);
