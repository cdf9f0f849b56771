import {accessSync, constants, mkdirSync} from 'node:fs';
import {runTool} from '../../lib/nat/iptables-command.ts';
import type {IptablesOptions} from '../../lib/nat/iptables-command.ts';
import {withLock} from '../../lib/store/lock.ts';
import {formatRestore} from './iptables-rules.ts';

const lockDirectory = '/run/weft/iptables';
const lockTimeoutMs = 55_000;
const attempts = 5;

/**
 * Reads the filter table of a tool ("iptables", "ip6tables-legacy"), and carries out the commands that `plan` gives. The
 * tools lock themselves, but not from reading to writing: of ours, one at a time does both, and what others change in between
 * is seen by reading again.
 */
export async function changeFilter(
  tool: string,
  options: IptablesOptions,
  plan: (saved: string) => readonly string[],
): Promise<void> {
  await alone(async () => {
    let before = '';
    for (let attempt = 1; ; attempt++) {
      const commands = plan(await saveFilter(tool, options));
      if (commands.length === 0) return;
      const input = formatRestore(commands);
      try {
        await runTool(`${tool}-restore`, ['--noflush', '--wait'], options, input);
        return;
      } catch (error) {
        // The same commands as before: nobody interfered, they are refused.
        if (input === before || attempt === attempts) throw error;
        before = input;
      }
    }
  });
}

/** What `<tool>-save` prints of the filter table. */
export function saveFilter(tool: string, options: IptablesOptions): Promise<string> {
  return runTool(`${tool}-save`, ['-t', 'filter'], options);
}

async function alone(work: () => Promise<void>): Promise<void> {
  try {
    mkdirSync(lockDirectory, {recursive: true, mode: 0o750});
    accessSync(lockDirectory, constants.W_OK);
  } catch {
    // Without a place for the lock (rootless) there are hardly others.
    return work();
  }
  await withLock({path: `${lockDirectory}/lock`, timeoutMs: lockTimeoutMs}, work);
}
