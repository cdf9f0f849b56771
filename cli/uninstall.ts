import {existsSync, readdirSync, rmSync} from 'node:fs';
import {isAbsolute, join, resolve} from 'node:path';
import {parseArgs} from 'node:util';
import {type Command, UsageError} from './command.ts';
import {removeConf} from './installation/conf.ts';
import {lookAt} from './installation/files.ts';
import {layoutOf, type Layout} from './installation/layout.ts';
import {lockInstallation} from './installation/lock.ts';
import {giveUpName} from './installation/names.ts';
import {findInstalled} from './installation/state.ts';

/** `weft uninstall` */
export const uninstall: Command = {
  summary: 'take the plugins out of a plugin folder, and put back what they replaced',
  usage: `weft uninstall [options]

  --bin-dir DIR   the plugin folder (default /opt/cni/bin)

Files that \`weft install --force\` replaced come back. Files that others put there since, and network configurations
that were changed since, stay as they are.`,
  run({args, out}) {
    const {values} = parseArgs({
      args: [...args],
      options: {'bin-dir': {type: 'string', default: '/opt/cni/bin'}},
    });
    if (!isAbsolute(values['bin-dir'])) {
      throw new UsageError(`--bin-dir: ${JSON.stringify(values['bin-dir'])} is not an absolute path`);
    }
    const layout = layoutOf(resolve(values['bin-dir']));
    if (!existsSync(layout.home)) throw new Error(`weft is not installed in ${layout.binDir}`);
    using _lock = lockInstallation(layout);
    const installed = findInstalled(layout);
    // Configurations first: a runtime must not find a network whose plugins are gone.
    for (const conf of installed?.confs ?? []) out(`${conf.path}: ${removeConf(conf, layout)}`);
    const names = new Set([...(installed?.names ?? []), ...listStubs(layout)]);
    for (const name of names) {
      const outcome = giveUpName(layout, name);
      if (outcome === 'not ours') out(`${name}: left, it is not weft's any more`);
      if (outcome === 'restored') out(`${name}: put back what was there before`);
    }
    rmSync(layout.home, {recursive: true, force: true});
    out(`weft is uninstalled from ${layout.binDir}`);
    return Promise.resolve(0);
  },
};

/** Names that lead to a weft, whatever the installation's own list says. */
function listStubs({binDir}: Layout): readonly string[] {
  return readdirSync(binDir).filter((name) => lookAt(join(binDir, name)) === 'weft');
}
