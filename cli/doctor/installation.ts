import {existsSync, readFileSync} from 'node:fs';
import {join} from 'node:path';
import {layoutOf, versionDir} from '../installation/layout.ts';
import {describeKind, findInstalled} from '../installation/state.ts';
import {about, type Finding} from './finding.ts';

/** Whether what `weft install` wrote is still there, name by name. */
export function checkInstallation({
  binDir,
  version,
}: {
  readonly binDir: string;
  readonly version: string;
}): readonly Finding[] {
  const {ok, warning, problem} = about('installation');
  const layout = layoutOf(binDir);
  const installed = findInstalled(layout);
  if (installed === undefined) {
    return [
      warning(
        `weft is not installed in ${binDir}`,
        '`weft install` puts the plugins there; --bin-dir names another folder',
      ),
    ];
  }
  const program = join(versionDir(layout, installed.version), 'weft');
  const lost = installed.names.filter((name) => !contains(join(binDir, name), '.weft'));
  return [
    ...(installed.version === version
      ? []
      : [
          warning(
            `${binDir} has weft ${installed.version}, this is ${version}`,
            '`weft install` upgrades it',
          ),
        ]),
    ...(existsSync(program)
      ? []
      : [problem(`${program} is gone: no plugin of weft's works`, 'run `weft install`')]),
    ...lost.map((name) =>
      warning(
        `${join(binDir, name)} is no longer what weft put there`,
        'another installer replaced or removed it: `weft install --force` writes it anew',
      ),
    ),
    ...(lost.length === 0
      ? [
          ok(
            `weft ${installed.version} in ${binDir}: ${installed.names.length} names, ${describeKind(installed)}`,
          ),
        ]
      : []),
    ...(installed.client === undefined || existsSync(installed.client.socket)
      ? []
      : [
          warning(
            `${binDir} has ${describeKind(installed)}, which is not there: each call is a process of weft's own`,
            '`systemctl start weft-agent`, or `weft install --no-client`',
          ),
        ]),
  ];
}

function contains(path: string, text: string): boolean {
  try {
    return readFileSync(path).includes(text);
  } catch {
    return false;
  }
}
