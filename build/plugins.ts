import {existsSync, readdirSync, readFileSync} from 'node:fs';

import {root} from './paths.ts';

/** A folder of plugins/ and the names its plugin answers to: the folder's own and those in `names.json`. */
export interface PluginFolder {
  readonly folder: string;
  readonly names: readonly string[];
}

/** Every plugin there is: the folders of plugins/ that hold a `plugin.ts`. There is no list to keep. */
export function listPlugins(): readonly PluginFolder[] {
  return readdirSync(`${root}/plugins`)
    .filter((folder) => existsSync(`${root}/plugins/${folder}/plugin.ts`))
    .sort()
    .map((folder) => ({folder, names: [folder, ...readNames(`${root}/plugins/${folder}/names.json`)]}));
}

function readNames(path: string): readonly string[] {
  if (!existsSync(path)) return [];
  const names: unknown = JSON.parse(readFileSync(path, 'utf8'));
  if (!Array.isArray(names) || !names.every((name) => typeof name === 'string')) {
    throw new Error(`${path}: should be a list of names, such as ["dnsname"]`);
  }
  return names;
}
