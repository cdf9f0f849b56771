import {readdirSync} from 'node:fs';
import path from 'node:path';
import {errorCodes} from '../../lib/cni/error.ts';
import type {Plugin} from '../../lib/cni/plugin.ts';
import {runPlugin} from '../../lib/cni/skel.ts';
import {createHost, type Host} from '../../lib/host.ts';
import {plugin as bridge} from '../../plugins/bridge/plugin.ts';
import {plugin as hostLocal} from '../../plugins/host-local/plugin.ts';
import {plugin as loopback} from '../../plugins/loopback/plugin.ts';
import {plugin as ptp} from '../../plugins/ptp/plugin.ts';
import {plugin as sbr} from '../../plugins/sbr/plugin.ts';
import {plugin as staticIpam} from '../../plugins/static/plugin.ts';
import {plugin as tuning} from '../../plugins/tuning/plugin.ts';
import {plugin as vxlan} from '../../plugins/vxlan/plugin.ts';
import {delAfter, makeFuzzCase, type FuzzCase} from './mutate.ts';
import {makeRandom} from './random.ts';

/** What a worker prints at its end, as JSON. */
export interface FuzzReport {
  readonly cases: number;
  /** How many calls succeeded: enough of them must get past the checks of the configuration. */
  readonly succeeded: number;
  readonly slowestMs: number;
  /** What is wrong, each with the seed and number of its case. */
  readonly problems: readonly string[];
}

const plugins: Readonly<Record<string, Plugin<Host>>> = {
  bridge,
  'host-local': hostLocal,
  loopback,
  ptp,
  sbr,
  static: staticIpam,
  tuning,
  vxlan,
};
const knownCodes: ReadonlySet<number> = new Set(Object.values(errorCodes));
const deadlineMs = 10_000;

/** What is wrong with a plugin's answer, or undefined. */
export function judgeAnswer({
  code,
  stdout,
  stderr,
}: {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}): string | undefined {
  if (/^\s+at .*:\d+:\d+\)?$/m.test(stdout + stderr)) return `a stack trace: ${stdout}${stderr}`;
  if (code === 0) return undefined;
  let answer: {code?: unknown; msg?: unknown};
  try {
    answer = JSON.parse(stdout) as typeof answer;
  } catch {
    return `exit ${code} without JSON: ${stdout}${stderr}`;
  }
  if (typeof answer.code !== 'number' || !knownCodes.has(answer.code)) return `unknown code: ${stdout}`;
  if (typeof answer.msg !== 'string' || answer.msg === '') return `no message: ${stdout}`;
  return undefined;
}

async function run({plugin, env, stdin}: FuzzCase, host: Host) {
  let stdout = '';
  let stderr = '';
  const io = {
    env,
    stdin: () => Promise.resolve(stdin),
    stdout: (text: string) => {
      stdout += text;
      return Promise.resolve();
    },
    stderr: (text: string) => (stderr += text),
  };
  const findBuiltin = (file: string) => plugins[path.basename(file)];
  const started = performance.now();
  const late = new Promise<null>((resolve) => setTimeout(() => resolve(null), deadlineMs).unref());
  const code = await Promise.race([runPlugin(plugins[plugin]!, io, host, findBuiltin), late]);
  return {code, stdout, stderr, durationMs: performance.now() - started};
}

/** Interfaces that may be there between two calls: bridges, and what was there before. */
function strayLinks(): string[] {
  return readdirSync('/sys/class/net').filter((name) => name.startsWith('veth'));
}

/** Puts cases `from` to `to` of a seed to the plugins, in this process and namespace; prints a FuzzReport. */
async function main([seedText = '', from = '0', to = '0', plugDir = '', netns = '']: string[]) {
  const problems: string[] = [];
  let succeeded = 0;
  let slowestMs = 0;
  for (let index = Number(from); index < Number(to); index++) {
    const host = createHost();
    const fuzzCase = makeFuzzCase(makeRandom(Number(seedText) + index), {path: plugDir, netns});
    const complain = (what: string) =>
      problems.push(
        `case ${index} of seed ${seedText}: ${what}\n  ${JSON.stringify(fuzzCase.env)}\n  ${fuzzCase.stdin.slice(0, 2000)}`,
      );
    const answer = await run(fuzzCase, host);
    slowestMs = Math.max(slowestMs, answer.durationMs);
    const wrong = answer.code === null ? `no answer in ${deadlineMs} ms` : judgeAnswer(answer);
    if (wrong !== undefined) complain(wrong);
    if (answer.code === 0) succeeded++;
    if (answer.code === 0 && fuzzCase.env['CNI_COMMAND'] === 'ADD') {
      const removed = await run(delAfter(fuzzCase, answer.stdout), host);
      if (removed.code !== 0) complain(`ADD succeeded, DEL did not: ${removed.stdout}`);
    }
    if (fuzzCase.env['CNI_COMMAND'] === 'ADD')
      for (const link of strayLinks()) complain(`left: ${link}; the answer was ${answer.stdout}`);
    host.close();
    if (problems.length > 10) break;
  }
  const report: FuzzReport = {cases: Number(to) - Number(from), succeeded, slowestMs, problems};
  process.stdout.write(JSON.stringify(report));
}

if (import.meta.main) {
  await main(process.argv.slice(2));
  process.exit(0);
}
