import {existsSync, statSync} from 'node:fs';
import {join} from 'node:path';
import {describeFailure} from '../../lib/cni/failure.ts';
import {listNetworks, type Network} from '../../lib/cni/runtime/network.ts';
import {findKey} from '../../lib/cni/shape.ts';
import type {Json} from '../../lib/cni/types.ts';
import {about, type Finding} from './finding.ts';

/** The networks that are configured, and what is wrong with their files. */
export function checkConfigurations({confDir, binDir}: {readonly confDir: string; readonly binDir: string}): {
  readonly networks: readonly Network[];
  readonly findings: readonly Finding[];
} {
  const {ok, warning, problem} = about('configuration');
  if (!existsSync(confDir)) {
    const finding = warning(
      `there is no folder ${confDir}`,
      '`weft install --conf NAME` writes a configuration there',
    );
    return {networks: [], findings: [finding]};
  }
  const broken: Finding[] = [];
  const networks = listNetworks(confDir, (error) =>
    broken.push(problem(describeFailure(error), 'a runtime skips this file: mend it or remove it')),
  );
  const twice = networks.filter(({name}, i) => networks.findIndex((each) => each.name === name) < i);
  const missing = networks.flatMap(({name, plugins}) =>
    [...new Set(plugins.flatMap(namesOf))]
      .filter((type) => !statSync(join(binDir, type), {throwIfNoEntry: false})?.isFile())
      .map((type) =>
        problem(`network "${name}" needs the plugin ${type}, which is not in ${binDir}`, 'install it there'),
      ),
  );
  const double = twice.map(({name}) =>
    warning(`two files in ${confDir} define a network "${name}"`, 'only the first counts: remove the other'),
  );
  const findings = [...broken, ...missing, ...double];
  if (networks.length === 0)
    findings.push(warning(`${confDir} has no network configuration`, '`weft install --conf NAME`'));
  else if (findings.length === 0) findings.push(ok(networks.map(({name}) => name).join(', ')));
  return {networks, findings};
}

/** The plugin's type and that of its IPAM. */
function namesOf(plugin: Network['plugins'][number]): string[] {
  const ipam = findKey(plugin, 'ipam');
  return [findKey(plugin, 'type'), isObject(ipam) ? findKey(ipam, 'type') : undefined].filter(
    (type): type is string => typeof type === 'string' && type !== '',
  );
}

function isObject(value: Json | undefined): value is {readonly [key: string]: Json} {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
