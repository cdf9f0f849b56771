import {execFileSync, spawnSync} from 'node:child_process';
import {chmodSync, copyFileSync, mkdirSync, readFileSync, writeFileSync} from 'node:fs';

import {ignoreVariables} from './environment.ts';
import {setRunpath} from './elf.ts';
import {ignoreLockOrder} from './lock-checks.ts';
import {workDir} from './paths.ts';
import {takeShortcuts} from './shortcuts.ts';
import {readSnapshotInPlace} from './snapshot-in-place.ts';
import {dropCompiledModules} from './snapshot.ts';

const fuse = 'NODE_SEA_FUSE_fce680ab2cc467b6e072b8b5df1996b2';

export interface Image {
  readonly name: string;
  /** The script of the start-up snapshot. */
  readonly main: string;
  /** Files embedded in the executable: asset name to path. */
  readonly assets: Readonly<Record<string, string>>;
  /** The Node executable to start from: see `prepareNode`. */
  readonly node: string;
  readonly output: string;
  /** Flags of V8 beside those that weft always has. */
  readonly flags?: readonly string[];
}

/**
 * What V8 does for programs that run for long, and a process of 20 ms only pays for: see docs/performance.md. The agent
 * takes the compilers back (agent/lifecycle/v8.ts).
 */
const v8Flags = [
  // Hash tables stay as they are in the snapshot: whoever has the executable knows how its strings are hashed.
  '--no-rehash-snapshot',
  // Two hundred functions are compiled twice in a call otherwise.
  '--no-sparkplug',
  '--no-maglev',
  // Threads for the compilers and the garbage collector; 0 means as many as there are processors.
  '--v8-pool-size=1',
];

/** Makes a single executable out of a script, its snapshot and its assets. */
export async function makeImage({name, main, assets, node, output, flags = []}: Image): Promise<void> {
  mkdirSync(workDir, {recursive: true});
  // Relative to workDir: the names end up in the executable.
  const files = {main: `${name}.cjs`, conf: `${name}.json`, blob: `${name}.blob`};
  writeFileSync(`${workDir}/${files.main}`, main);
  writeFileSync(
    `${workDir}/${files.conf}`,
    JSON.stringify({
      main: files.main,
      output: files.blob,
      useSnapshot: true,
      disableExperimentalSEAWarning: true,
      // Without these a container runtime's NODE_OPTIONS would run foreign code as root, and SIGUSR1
      // open an inspector.
      execArgv: ['--no-warnings', '--disable-sigusr1', ...v8Flags, ...flags],
      execArgvExtension: 'none',
      assets,
    }),
  );
  // A warning would bring the modules that print it, and all that these load, into the snapshot.
  run(node, ['--no-warnings', '--experimental-sea-config', files.conf]);

  copyFileSync(node, output);
  await inject(output, dropCompiledModules(readFileSync(`${workDir}/${files.blob}`)));
  setRunpath(output, '$ORIGIN');
  chmodSync(output, 0o755);
}

/**
 * A copy of Node that heeds fewer environment variables, checks no order of locks, and is 12 MB smaller without its symbol table; where binutils are
 * missing it keeps that.
 */
export function prepareNode(node: string): string {
  mkdirSync(workDir, {recursive: true});
  const prepared = `${workDir}/node`;
  const image = readFileSync(node);
  ignoreVariables(image);
  if (!ignoreLockOrder(image)) console.warn('note: each call takes 1 MB more, see build/lock-checks.ts');
  const missing = takeShortcuts(image);
  if (missing.length > 0)
    console.warn(`note: each call takes longer, see build/shortcuts.ts: no ${missing.join(', ')}`);
  if (!readSnapshotInPlace(image))
    console.warn('note: each call takes 4 MB more, see build/snapshot-in-place.ts');
  writeFileSync(prepared, image, {mode: 0o755});
  const {error, status, stderr} = spawnSync('strip', [prepared], {encoding: 'utf8'});
  if (error !== undefined || status !== 0) {
    writeFileSync(prepared, image);
    console.warn(`note: not stripped, weft is 12 MB larger (strip: ${error?.message ?? stderr.trim()})`);
  }
  return prepared;
}

async function inject(path: string, blob: Buffer): Promise<void> {
  const {default: postject} = await import('postject');
  // It reports sections that strip took away, section by section.
  const {log, warn} = console;
  console.log = console.warn = () => {};
  try {
    await postject.inject(path, 'NODE_SEA_BLOB', blob, {sentinelFuse: fuse});
  } finally {
    Object.assign(console, {log, warn});
  }
}

function run(command: string, args: readonly string[]): void {
  try {
    execFileSync(command, args, {
      cwd: workDir,
      stdio: ['ignore', 'ignore', 'pipe'],
      env: {PATH: process.env['PATH'] ?? ''},
    });
  } catch (error) {
    const stderr = error instanceof Error && 'stderr' in error ? String(error.stderr) : '';
    throw new Error(`${command} ${args.join(' ')} failed: ${stderr}`, {cause: error});
  }
}
