import {readdirSync, readFileSync} from 'node:fs';
import {dirname, extname, join} from 'node:path';
import {findKey} from '../shape.ts';
import type {Json, JsonObject} from '../types.ts';
import {compareVersions, currentVersion, isAtLeast} from '../versions.ts';

/** A network as its configuration file describes it (spec section 1). */
export interface Network {
  readonly name: string;
  /** The newest version that both the file and this library allow; "" where the file says none. */
  readonly cniVersion: string;
  readonly disableCheck: boolean;
  readonly disableGC: boolean;
  /** What each plugin of the chain is told, before the runtime's additions. */
  readonly plugins: readonly JsonObject[];
  /** The file as it is: the result cache keeps it. */
  readonly text: string;
}

/**
 * Finds the network of this name in a folder: first the .conflist files in alphabetical order, then
 * .conf and .json files, each of one plugin. A file that cannot be read does not hide the others; it
 * is the error if none of them has the name.
 */
export function loadNetwork(folder: string, name: string): Network {
  const lists = listFiles(folder, ['.conflist']);
  const singles = listFiles(folder, ['.conf', '.json']);
  if (lists.length + singles.length === 0) throw new Error(`no net configurations found in ${folder}`);
  let failure: unknown;
  for (const file of [...lists, ...singles]) {
    try {
      const network = readNetwork(file);
      if (network.name === name) return network;
    } catch (error) {
      failure ??= error;
    }
  }
  throw new Error(`no net configuration with name "${name}" in ${folder}`, {cause: failure});
}

/** Every network of a folder; those that cannot be read are told to `onError`. */
export function listNetworks(folder: string, onError: (error: unknown) => void): readonly Network[] {
  return [...listFiles(folder, ['.conflist']), ...listFiles(folder, ['.conf', '.json'])].flatMap((file) => {
    try {
      return [readNetwork(file)];
    } catch (error) {
      onError(error);
      return [];
    }
  });
}

/** Reads one file of a network, and the plugins that lie beside it in a folder of its name. */
function readNetwork(file: string): Network {
  try {
    const text = readFileSync(file, 'utf8');
    if (extname(file) !== '.conflist') return parseSinglePlugin(text);
    const {network, loadsFolder} = parseList(text);
    const beside = loadsFolder ? readPluginFolder(join(dirname(file), network.name)) : [];
    const plugins = [...network.plugins, ...beside];
    if (plugins.length === 0) throw new Error('no plugin configs found');
    return {...network, plugins};
  } catch (error) {
    throw new Error(`error reading ${file}`, {cause: error});
  }
}

/** Reads the text of a .conflist, with the plugins it lists itself. */
export function parseNetwork(text: string): Network {
  return parseList(text).network;
}

function parseList(text: string): {readonly network: Network; readonly loadsFolder: boolean} {
  const list = parseObject(text, 'error parsing configuration list');
  const name = list['name'];
  if (name === undefined) throw invalid('no name');
  if (typeof name !== 'string') throw invalid(`invalid name: ${JSON.stringify(name)}`);
  const onlyInlined = readFlag(list, 'loadOnlyInlinedPlugins');
  const listed = list['plugins'];
  if (listed === undefined && onlyInlined)
    throw invalid("`loadOnlyInlinedPlugins` is true, and no 'plugins' key");
  if (listed !== undefined && !Array.isArray(listed))
    throw invalid(`invalid 'plugins': ${JSON.stringify(listed)}`);
  if (listed?.length === 0) throw invalid('no plugins in list');
  const network = {
    name,
    cniVersion: negotiateVersion(list),
    disableCheck: readFlag(list, 'disableCheck'),
    disableGC: readFlag(list, 'disableGC'),
    plugins: ((listed ?? []) as readonly Json[]).map((plugin, i) => {
      return asPlugin(plugin, `failed to parse plugin config ${i}`);
    }),
    text,
  };
  return {network, loadsFolder: !onlyInlined};
}

/** The newest of `cniVersion` and `cniVersions` that this library speaks. */
function negotiateVersion(list: JsonObject): string {
  const version = list['cniVersion'] ?? '';
  if (typeof version !== 'string') throw invalid(`invalid cniVersion: ${JSON.stringify(version)}`);
  const versions = list['cniVersions'];
  if (versions === undefined) return version;
  if (!Array.isArray(versions)) throw invalid(`invalid cniVersions: ${JSON.stringify(versions)}`);
  const offered = (versions as readonly Json[]).map((entry, i) => {
    if (typeof entry !== 'string') throw invalid(`invalid cniVersions index ${i}: ${JSON.stringify(entry)}`);
    return entry;
  });
  if (version !== '') offered.push(version);
  const spoken = offered.filter((entry, i) => {
    try {
      return isAtLeast(currentVersion, entry);
    } catch (cause) {
      const key = i < versions.length ? `cniVersions index ${i}` : 'cniVersion';
      throw new Error(`error parsing configuration list: invalid ${key}`, {cause});
    }
  });
  spoken.sort(compareVersions);
  return spoken.at(-1) ?? version;
}

/** A flag may be written as a string, as old files do. */
function readFlag(list: JsonObject, key: string): boolean {
  const value = list[key] ?? false;
  if (typeof value === 'boolean') return value;
  const text = typeof value === 'string' ? value.toLowerCase() : '';
  if (text !== 'true' && text !== 'false') throw invalid(`invalid value ${JSON.stringify(value)} for ${key}`);
  return text === 'true';
}

/** The form before there were lists: the file is the only plugin's configuration. */
function parseSinglePlugin(text: string): Network {
  const plugin = asPlugin(parseObject(text, 'error parsing configuration'), 'error parsing configuration');
  const [name, cniVersion] = [findKey(plugin, 'name') ?? '', findKey(plugin, 'cniVersion') ?? ''];
  if (typeof name !== 'string' || typeof cniVersion !== 'string') {
    throw new Error('error parsing configuration: name and cniVersion are strings');
  }
  return {name, cniVersion, disableCheck: false, disableGC: false, plugins: [plugin], text};
}

/** Reads the text of a list, or of the only plugin of a network: what runtimes note of an attachment. */
export function parseAnyNetwork(text: string): Network {
  const object = parseObject(text, 'error parsing configuration');
  return findKey(object, 'plugins') === undefined ? parseSinglePlugin(text) : parseNetwork(text);
}

/** The `type` of a plugin object in any spelling: the name of its executable. */
export function pluginType(plugin: JsonObject): string {
  const type = findKey(plugin, 'type');
  return typeof type === 'string' ? type : '';
}

function readPluginFolder(folder: string): JsonObject[] {
  return listFiles(folder, ['.conf']).map((file) => {
    return asPlugin(
      parseObject(readFileSync(file, 'utf8'), `error reading ${file}`),
      `error reading ${file}`,
    );
  });
}

function asPlugin(plugin: Json, where: string): JsonObject {
  if (plugin === null || typeof plugin !== 'object' || Array.isArray(plugin)) {
    throw new Error(`${where}: it is not an object`);
  }
  if (pluginType(plugin as JsonObject) === '') throw new Error(`${where}: missing 'type'`);
  return plugin as JsonObject;
}

function parseObject(text: string, where: string): JsonObject {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw new Error(where, {cause: error});
  }
  if (value === null || typeof value !== 'object' || Array.isArray(value)) {
    throw new Error(`${where}: it is not an object`);
  }
  return value as JsonObject;
}

/** In alphabetical order; none if the folder is not there. */
function listFiles(folder: string, extensions: readonly string[]): readonly string[] {
  let entries;
  try {
    entries = readdirSync(folder, {withFileTypes: true});
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return [];
    throw error;
  }
  return entries
    .filter((entry) => !entry.isDirectory() && extensions.includes(extname(entry.name)))
    .map((entry) => join(folder, entry.name))
    .sort();
}

function invalid(what: string): Error {
  return new Error(`error parsing configuration list: ${what}`);
}
