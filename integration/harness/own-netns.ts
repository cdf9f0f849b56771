import {spawn} from 'node:child_process';
import {closeSync, openSync} from 'node:fs';
import {setns} from '../../lib/netns/native.ts';
import {runCommand} from './command.ts';
import {ensurePackages, toolPath, type PackageSet} from './debian.ts';

/**
 * Moves this process's main thread into a new network namespace with `lo` up, for good: sockets opened and processes
 * started from now on are in it, and nothing they say leaves it. Packages are fetched before that. Root only; once per
 * process.
 */
export async function enterOwnNetns(...packages: readonly PackageSet[]): Promise<void> {
  for (const set of ['tools', ...packages] as const) await ensurePackages(set);
  const holder = spawn(
    'setpriv',
    ['--pdeathsig', 'KILL', 'unshare', '--net', 'sh', '-c', 'echo ready; exec sleep 60'],
    {
      stdio: ['ignore', 'pipe', 'inherit'],
    },
  );
  await new Promise((resolve, reject) => {
    holder.once('error', reject);
    holder.stdout.once('data', resolve);
  });
  const fd = openSync(`/proc/${holder.pid}/ns/net`, 'r');
  setns(fd);
  closeSync(fd);
  holder.kill('SIGKILL');
  await runCommand([toolPath('ip'), 'link', 'set', 'lo', 'up']);
}
