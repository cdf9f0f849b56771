import {existsSync, readdirSync} from 'node:fs';
import {join} from 'node:path';
import {describeFailure} from '../lib/cni/failure.ts';
import {listNetworks} from '../lib/cni/runtime/network.ts';
import {findKey} from '../lib/cni/shape.ts';
import type {Json, JsonObject} from '../lib/cni/types.ts';
import {defaultDataDir} from '../lib/store/tree.ts';
import {parseHostLocalConf, parseStoreConf} from '../plugins/host-local/conf.ts';
import {findDelegateConf} from '../plugins/vxlan/known.ts';
import type {RangeSet} from '../plugins/host-local/range.ts';

/** A network whose addresses host-local gives. */
export interface HostLocalNetwork {
  readonly network: string;
  readonly dataDir: string;
  /** `undefined` without a configuration: then the directory itself is read. */
  readonly indexDir: string | undefined;
  /** `undefined` where there are reservations but no configuration, or one that cannot be read. */
  readonly sets: readonly RangeSet[] | undefined;
}

export interface Places {
  /** Folder of network configurations. */
  readonly confDir: string;
  /** Where the reservations are, whatever the configurations say. */
  readonly dataDir?: string | undefined;
  /** Told what is wrong with a configuration. */
  readonly warn: (message: string) => void;
}

/** Every network that a configuration or a directory of reservations tells of, in order of their names. */
export function listHostLocalNetworks(places: Places): readonly HostLocalNetwork[] {
  const {confDir, dataDir, warn} = places;
  const found = new Map<string, HostLocalNetwork>();
  const onError = (error: unknown) => warn(describeFailure(error));
  for (const network of existsSync(confDir) ? listNetworks(confDir, onError) : []) {
    for (const each of network.plugins) {
      const plugin = delegateOf(each, network.name);
      const ipam = findKey(plugin, 'ipam');
      if (found.has(network.name) || !isObject(ipam) || findKey(ipam, 'type') !== 'host-local') continue;
      const {name, cniVersion} = network;
      const read = readConf({command: 'STATUS', args: '', conf: plugin, name, cniVersion, warn});
      if (read) found.set(name, {...read, ...(dataDir !== undefined && {dataDir})});
    }
  }
  const configured = [...found.values()].map((network) => network.dataDir);
  for (const each of new Set([dataDir ?? defaultDataDir, ...configured])) {
    for (const name of listDirectories(each)) {
      if (!found.has(name)) {
        found.set(name, {network: name, dataDir: each, indexDir: undefined, sets: undefined});
      }
    }
  }
  return [...found.values()].toSorted((a, b) => (a.network < b.network ? -1 : 1));
}

/** Of a plugin that delegates, the configuration that its delegate gets. */
function delegateOf(plugin: JsonObject, name: string): JsonObject {
  const type = findKey(plugin, 'type');
  const delegates = type === 'vxlan' || type === 'flannel';
  return (delegates ? findDelegateConf({conf: plugin, name}) : undefined) ?? plugin;
}

function readConf(call: Parameters<typeof parseHostLocalConf>[0]): HostLocalNetwork | undefined {
  try {
    return parseHostLocalConf({...call, cniVersion: call.cniVersion || '0.1.0'});
  } catch (error) {
    call.warn(`network "${call.name}": ${describeFailure(error)}`);
  }
  try {
    return {...parseStoreConf(call), sets: undefined};
  } catch {
    return undefined;
  }
}

function listDirectories(directory: string): string[] {
  if (!existsSync(directory)) return [];
  return readdirSync(directory, {withFileTypes: true})
    .filter((entry) => entry.isDirectory() && existsSync(join(directory, entry.name, 'lock')))
    .map((entry) => entry.name);
}

function isObject(value: Json | undefined): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
