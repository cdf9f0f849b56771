import {
  copyFileSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import {tmpdir} from 'node:os';
import path from 'node:path';
import type {ExecutionContext} from 'ava';
import {runCommand, type Output} from './command.ts';
import {pluginDir} from './paths.ts';

// Installations in folders of their own, made by the executable that the build left.

export const weft = path.join(pluginDir, 'weft');

export interface Place {
  readonly folder: string;
  readonly binDir: string;
  readonly confDir: string;
  install(...args: string[]): Promise<Output>;
  uninstall(...args: string[]): Promise<Output>;
  file(name: string): string;
}

export function makePlace(t: ExecutionContext): Place {
  // Not below a long TMPDIR: the first line of a stub has 127 bytes.
  const folder = mkdtempSync(path.join(tmpdir().length < 40 ? tmpdir() : '/tmp', 'weft-'));
  t.teardown(() => rmSync(folder, {recursive: true, force: true}));
  const binDir = path.join(folder, 'bin');
  const confDir = path.join(folder, 'net.d');
  const run = (verb: string, args: readonly string[]) =>
    runCommand([weft, verb, '--bin-dir', binDir, ...args], {env: {}, mayFail: true, timeoutMs: 60_000});
  return {
    folder,
    binDir,
    confDir,
    install: (...args) => run('install', ['--conf-dir', confDir, ...args]),
    uninstall: (...args) => run('uninstall', args),
    file: (name) => path.join(binDir, name),
  };
}

export async function answers(t: ExecutionContext, file: string): Promise<void> {
  const {stdout} = await runCommand([file], {env: {CNI_COMMAND: 'VERSION'}});
  t.regex(stdout, /"supportedVersions":\[/, file);
}

export function pluginNames(binDir: string): readonly string[] {
  return readdirSync(binDir).filter((name) => !['.weft', 'weft', 'cnitool'].includes(name));
}

/** Makes what is installed look like another version's work. */
export function pretendVersion(place: Place, version: string): void {
  const {binDir} = place;
  const file = (name: string) => place.file(name);
  const state = file('.weft/installed.json');
  const installed = JSON.parse(readFileSync(state, 'utf8')) as {version: string; names: string[]};
  const own = installed.version;
  mkdirSync(file(`.weft/${version}`));
  for (const name of readdirSync(file(`.weft/${own}`))) {
    copyFileSync(file(`.weft/${own}/${name}`), file(`.weft/${version}/${name}`));
  }
  rmSync(file(`.weft/${own}`), {recursive: true});
  for (const name of readdirSync(binDir).filter((each) => each !== '.weft')) {
    // Of the same length, and so a client stays what it is.
    const text = readFileSync(file(name), 'latin1').replaceAll(own, version);
    writeFileSync(file(name), text, {encoding: 'latin1', mode: 0o755});
  }
  writeFileSync(state, JSON.stringify({...installed, version}));
}
