import {execFileSync} from 'node:child_process';
import {readFileSync} from 'node:fs';
import {plugin} from '../../plugins/portmap/plugin.ts';
import {FailingKernel} from './failing-host.ts';
import {runVerb} from './run-verb.ts';

// Runs in a test host: carries out the calls on stdin, a JSON list, with the real kernel, and prints a JSON list of how each
// went and what it asked of the kernel.

export interface DriverCall {
  readonly command: string;
  readonly conf: unknown;
  readonly containerId: string;
  /** The number of the request that fails, from 0. */
  readonly failing?: number;
  readonly loss?: 'request' | 'answer';
  /** Shell scripts to run before and after. */
  readonly before?: string;
  readonly after?: string;
}

export interface DriverOutcome {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
  /** Questions and transactions, in words. */
  readonly requests: readonly string[];
  readonly durationMs: number;
  /** What `after` wrote. */
  readonly after: string;
}

async function run({
  command,
  conf,
  containerId,
  failing = -1,
  loss = 'request',
}: DriverCall): Promise<Omit<DriverOutcome, 'after'>> {
  const kernel = new FailingKernel(failing, loss);
  const call = {command, netns: '/run/netns/none', containerId, conf: JSON.stringify(conf)};
  const started = performance.now();
  const {code, stdout, stderr} = await runVerb(plugin, call, kernel.open());
  const durationMs = performance.now() - started;
  return {code, stdout, stderr, requests: kernel.requests, durationMs};
}

if (import.meta.main) {
  const text = readFileSync(0, 'utf8');
  const sh = (script: string) => execFileSync('/bin/sh', ['-ec', script], {encoding: 'utf8'});
  const outcomes: DriverOutcome[] = [];
  for (const call of JSON.parse(text) as DriverCall[]) {
    if (call.before !== undefined) sh(call.before);
    const outcome = await run(call);
    outcomes.push({...outcome, after: call.after === undefined ? '' : sh(call.after)});
  }
  console.log(JSON.stringify(outcomes));
}
