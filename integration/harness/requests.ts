import path from 'node:path';
import type {ExecutionContext} from 'ava';
import type {TestHost} from './host.ts';
import {repository} from './paths.ts';

/** What a driver of in-process/ prints for each run of a verb. */
interface Line {
  readonly loss: 'request' | 'answer';
  readonly start?: 'cold' | 'warm';
  readonly failing: number;
  readonly what?: string;
  readonly code: number;
  readonly stdout: string;
  readonly again?: {readonly code: number; readonly stdout: string};
  readonly left: readonly string[];
}

/** A driver of in-process/ that fails each netlink request of a verb in turn. */
export interface RequestDriver {
  /** Its file there. */
  readonly script: string;
  readonly args: readonly string[];
  /** What it reads as the configuration. */
  readonly conf: unknown;
}

/**
 * Runs the driver on the host: whichever request fails, nothing may be left, what failed must say so, and a DEL that
 * comes afterwards must succeed. Gives how many runs there were and how many of them failed.
 */
export async function failEachRequest(
  t: ExecutionContext,
  host: TestHost,
  {script, args, conf}: RequestDriver,
): Promise<{readonly runs: number; readonly failed: number}> {
  const file = path.join(repository, 'integration/in-process', script);
  const {stdout} = await host.run([process.execPath, file, ...args], {
    stdin: JSON.stringify(conf),
    timeoutMs: 240_000,
  });
  const lines = stdout
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as Line);
  let failed = 0;
  for (const {loss, start, failing, what, code, stdout: said, again, left} of lines) {
    const where = `${args[0]}${start ? ` from ${start}` : ''}, ${loss} ${failing} lost (${what ?? 'none'})`;
    t.deepEqual(left, [], where);
    if (again) t.is(again.code, 0, `${where}: ${again.stdout}`);
    if (code === 0) continue;
    failed++;
    t.regex((JSON.parse(said) as {msg: string}).msg, /injected/, where);
  }
  t.is(lines.at(-1)?.code, 0);
  t.log(`${lines.length} runs, ${failed} failed as they should`);
  return {runs: lines.length, failed};
}
