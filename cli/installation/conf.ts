import {createHash} from 'node:crypto';
import {existsSync, mkdirSync, readFileSync, rmSync} from 'node:fs';
import {basename, dirname, join} from 'node:path';
import type {Assets} from '../command.ts';
import {keepBackup, restoreBackup, writeAtomically} from './files.ts';
import type {Layout} from './layout.ts';

/** The ready configurations of conf/ by their short name, and what they are called in a runtime's folder. */
const fileNames: Readonly<Record<string, string>> = {
  kubernetes: '10-weft.conflist',
  podman: '87-weft-podman.conflist',
  'dual-stack': '20-weft-dual-stack.conflist',
  bandwidth: '30-weft-limited.conflist',
  ports: '20-weft-ports.conflist',
  firewall: '40-weft-guarded.conflist',
  ptp: '50-weft-ptp.conflist',
  static: '60-weft-static.conflist',
  sbr: '70-weft-sbr.conflist',
  discovery: '82-weft-named.conflist',
  flannel: '10-flannel.conflist',
  vxlan: '80-weft-vxlan.conflist',
  'vxlan-l2': '81-weft-l2.conflist',
};

export interface Conf {
  readonly path: string;
  readonly content: string;
}

/** The configuration that `--conf` names. Throws a sentence with the names there are. */
export function getConf(
  name: string,
  {confDir, assets}: {confDir: string; assets: Pick<Assets, 'list' | 'read'>},
): Conf {
  const keys = assets.list().filter((key) => key.startsWith('conf/') && key.endsWith('.conflist'));
  const key = keys.find((each) => nameOf(each) === name);
  if (key === undefined) {
    throw new Error(`there is no configuration "${name}": --conf takes ${keys.map(nameOf).join(', ')}`);
  }
  return {path: join(confDir, fileNames[name] ?? `10-weft-${name}.conflist`), content: assets.read(key)};
}

const nameOf = (key: string) => basename(key, '.conflist');

export function hashOf(content: string): string {
  return createHash('sha256').update(content).digest('hex');
}

/**
 * Whether a configuration would overwrite something that is neither it nor what we wrote before: an operator changes
 * the subnet, and keeps it.
 */
export function isForeignConf(
  {path, content}: Conf,
  known: readonly {path: string; sha256: string}[],
): boolean {
  if (!existsSync(path)) return false;
  const present = hashOf(readFileSync(path, 'utf8'));
  return present !== hashOf(content) && !known.some((each) => each.path === path && each.sha256 === present);
}

/** Runtimes read what stands in the folder at any moment: never half a file. What it replaces is kept. */
export function putConf({path, content}: Conf, {backup}: Layout): void {
  mkdirSync(dirname(path), {recursive: true});
  const isOther = existsSync(path) && readFileSync(path, 'utf8') !== content;
  if (isOther) keepBackup(path, join(backup, 'conf', basename(path)));
  writeAtomically(path, content, {mode: 0o644});
}

/** Takes a configuration away, unless it was changed since; says what it did. */
export function removeConf({path, sha256}: {path: string; sha256: string}, {backup}: Layout): string {
  if (!existsSync(path)) return 'is gone already';
  if (hashOf(readFileSync(path, 'utf8')) !== sha256) return 'left, it was changed since';
  const kept = join(backup, 'conf', basename(path));
  if (existsSync(kept)) {
    restoreBackup(kept, path);
    return 'put back what was there before';
  }
  rmSync(path);
  return 'removed';
}
