import {spawnSync} from 'node:child_process';

export interface Measured {
  readonly command: string;
  readonly args?: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
}

/** Wall times of a whole process, in milliseconds. */
export interface Times {
  readonly name: string;
  readonly minimum: number;
  readonly median: number;
}

/** Runs each command `runs` times, in turns, so that what else the machine does falls on all alike. */
export function measureAll(
  commands: Readonly<Record<string, Measured>>,
  {runs}: {readonly runs: number},
): readonly Times[] {
  const rows = Object.entries(commands).map(([name, command]) => ({name, command, times: [] as number[]}));
  for (let run = 0; run < runs; run++) for (const {command, times} of rows) times.push(runOnce(command));
  return rows.map(({name, times}) => {
    times.sort((a, b) => a - b);
    return {name, minimum: times[0]!, median: times[runs >> 1]!};
  });
}

function runOnce({command, args = [], env = {}}: Measured): number {
  const started = performance.now();
  const {status, error} = spawnSync(command, args, {env, stdio: ['ignore', 'ignore', 'inherit']});
  const time = performance.now() - started;
  if (status !== 0) throw new Error(`${command} failed`, {cause: error});
  return time;
}
