import {execPlugin} from '../exec.ts';
import {describeFailure} from '../failure.ts';
import {findInPath} from '../find.ts';
import {findKey} from '../shape.ts';
import type {JsonObject} from '../types.ts';
import {currentVersion, unstatedVersion} from '../versions.ts';
import type {Runtime} from './chain.ts';
import {pluginType} from './network.ts';
import type {Network} from './network.ts';

/** The spec versions that a plugin says it speaks. */
export async function probeVersions(
  {path, env, stderr, exec = execPlugin}: Runtime,
  type: string,
): Promise<readonly string[]> {
  const file = findInPath(type, path);
  // Plugins older than VERSION check their variables first.
  const dummies = {
    CNI_NETNS: 'dummy',
    CNI_IFNAME: 'dummy',
    CNI_PATH: 'dummy',
    CNI_CONTAINERID: '',
    CNI_ARGS: '',
  };
  const stdin = JSON.stringify({cniVersion: currentVersion});
  let stdout: string;
  try {
    stdout = await exec({file, env: {...env, ...dummies, CNI_COMMAND: 'VERSION'}, stdin, stderr});
  } catch (error) {
    if (describeFailure(error) === 'unknown CNI_COMMAND: VERSION') return [unstatedVersion];
    throw error;
  }
  return parseVersionInfo(stdout);
}

/** Throws one error that names every plugin of a network which is not there or too old for it. */
export async function checkPlugins(runtime: Runtime, network: Network): Promise<void> {
  const wanted = network.cniVersion || unstatedVersion;
  const failures: unknown[] = [];
  for (const plugin of network.plugins) {
    const type = pluginType(plugin);
    try {
      const versions = await probeVersions(runtime, type);
      if (!versions.includes(wanted)) {
        throw new Error(`plugin ${type} does not support config version "${wanted}"`);
      }
    } catch (error) {
      failures.push(error);
    }
  }
  if (failures.length > 0) throw new AggregateError(failures);
}

function parseVersionInfo(stdout: string): readonly string[] {
  let info: JsonObject;
  try {
    info = JSON.parse(stdout) as JsonObject;
  } catch (error) {
    throw new Error('decoding version info', {cause: error});
  }
  const cniVersion = findKey(info, 'cniVersion');
  if (!cniVersion) throw new Error('decoding version info: missing field cniVersion');
  const versions = findKey(info, 'supportedVersions');
  if (Array.isArray(versions) && versions.length > 0) return versions.map(String);
  if (cniVersion === '0.2.0') return ['0.1.0', '0.2.0'];
  throw new Error('decoding version info: missing field supportedVersions');
}
