import {spawnSync} from 'node:child_process';
import {chmodSync, existsSync, mkdirSync, readdirSync, renameSync, rmSync, statSync} from 'node:fs';
import {dirname, join} from 'node:path';
import {copyAtomically} from './files.ts';
import {programFiles, versionDir, type Layout} from './layout.ts';

const answerTimeoutMs = 20_000;

/** What a version takes on disk. */
export function programSize(program: string): number {
  const size = (file: string) => statSync(file, {throwIfNoEntry: false})?.size ?? 0;
  return programFiles.reduce((sum, file) => sum + size(sourceOf(program, file)), 0);
}

function sourceOf(program: string, file: (typeof programFiles)[number]): string {
  return file === 'weft' ? program : join(dirname(program), file);
}

/** Where a new version is put together and tried before anything leads to it. */
export function stageProgram(layout: Layout, {program, version}: {program: string; version: string}): string {
  const stage = `${versionDir(layout, version)}.new`;
  rmSync(stage, {recursive: true, force: true});
  mkdirSync(stage, {recursive: true});
  chmodSync(stage, 0o755);
  for (const file of programFiles) {
    const source = sourceOf(program, file);
    if (!existsSync(source)) {
      throw new Error(`${source} is missing: weft is installed from the whole folder that the build made`);
    }
    copyAtomically(source, join(stage, file), {mode: file === 'weft' ? 0o755 : 0o644});
  }
  return stage;
}

/** Whether a version's folder holds files like those of this program, and they answer. */
export function isComplete(layout: Layout, {program, version}: {program: string; version: string}): boolean {
  const target = versionDir(layout, version);
  const size = (file: string) => statSync(file, {throwIfNoEntry: false})?.size;
  if (programFiles.some((file) => size(join(target, file)) !== size(sourceOf(program, file)))) return false;
  try {
    checkAnswers(join(target, 'weft'), ['--plugin', join(layout.binDir, 'loopback')]);
    return true;
  } catch {
    return false;
  }
}

/**
 * Moves a staged version to its place. If that very version is there, its files are replaced one by one, the program last: builds of
 * one version differ in the program, hardly ever in what it needs.
 */
export function activateProgram(layout: Layout, {stage, version}: {stage: string; version: string}): void {
  const target = versionDir(layout, version);
  if (!existsSync(target)) {
    renameSync(stage, target);
    return;
  }
  for (const file of programFiles) renameSync(join(stage, file), join(target, file));
  rmSync(stage, {recursive: true, force: true});
}

/** Removes the other versions, and what an installation that was interrupted left. Gives what it removed. */
export function removeOtherVersions(layout: Layout, version: string): readonly string[] {
  const keep = new Set([version, 'backup', 'installed.json', 'lock']);
  const others = readdirSync(layout.home).filter((entry) => !keep.has(entry));
  for (const other of others) rmSync(join(layout.home, other), {recursive: true, force: true});
  return others;
}

/** Runs a plugin's VERSION as a runtime would; throws a sentence when it does not answer as it should. */
export function checkAnswers(command: string, args: readonly string[] = []): void {
  const {error, status, stdout, stderr} = spawnSync(command, args, {
    env: {CNI_COMMAND: 'VERSION'},
    input: '',
    encoding: 'utf8',
    timeout: answerTimeoutMs,
  });
  const what = [command, ...args].join(' ');
  if (error !== undefined) throw new Error(`${what} cannot be executed${remedyFor(error)}`, {cause: error});
  if (status !== 0) throw new Error(`${what} ended with exit code ${status}: ${(stderr || stdout).trim()}`);
  try {
    const {supportedVersions} = JSON.parse(stdout) as {supportedVersions?: unknown};
    if (!Array.isArray(supportedVersions)) throw new Error('no supportedVersions');
  } catch (cause) {
    throw new Error(`${what} did not answer VERSION: ${JSON.stringify(stdout.slice(0, 200))}`, {cause});
  }
}

function remedyFor(error: Error): string {
  if (!('code' in error)) return '';
  if (error.code === 'EACCES') return ' (is its file system mounted noexec? then choose another --bin-dir)';
  if (error.code === 'ETIMEDOUT') return ` within ${answerTimeoutMs / 1000} s`;
  return '';
}
