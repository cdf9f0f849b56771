import {spawnSync} from 'node:child_process';

/** Median wall time of a whole process, in milliseconds, over some runs. */
export function measure({
  command,
  args = [],
  env = {},
  runs = 15,
}: {
  readonly command: string;
  readonly args?: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
  readonly runs?: number;
}): number {
  const times = Array.from({length: runs}, () => {
    const started = performance.now();
    const {status, error} = spawnSync(command, args, {env, stdio: ['ignore', 'ignore', 'inherit']});
    const time = performance.now() - started;
    if (status !== 0) throw new Error(`${command} failed`, {cause: error});
    return time;
  });
  return times.sort((a, b) => a - b)[runs >> 1]!;
}
