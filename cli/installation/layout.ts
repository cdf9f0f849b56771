import {join} from 'node:path';

/*
 * What `weft install` leaves in a plugin folder:
 *
 *   <bin-dir>/bridge …                  one small file per name, a stub or the native client
 *   <bin-dir>/.weft/<version>/weft      the program, its libraries and addons
 *   <bin-dir>/.weft/backup/<name>       foreign files that --force replaced
 *   <bin-dir>/.weft/installed.json      what was put where, for uninstall and upgrade
 *   <bin-dir>/.weft/lock                held while something is installed or uninstalled
 */

/** Paths inside a plugin folder. */
export interface Layout {
  readonly binDir: string;
  readonly home: string;
  readonly backup: string;
  readonly state: string;
  readonly lock: string;
}

export function layoutOf(binDir: string): Layout {
  const home = join(binDir, '.weft');
  return {
    binDir,
    home,
    backup: join(home, 'backup'),
    state: join(home, 'installed.json'),
    lock: join(home, 'lock'),
  };
}

/** The folder of one version. */
export function versionDir({home}: Pick<Layout, 'home'>, version: string): string {
  return join(home, version);
}

/** The file names of a version's folder, in the order in which they are put there. */
export const programFiles = [
  'libgcc_s.so.1',
  'libstdc++.so.6',
  'koffi.node',
  'netlink.node',
  'weft',
] as const;

/** The tools among the names; the agent has no use for them, so they are stubs in any case. */
const tools = ['cnitool', 'weft'] as const;

/** Every name that gets a file: the plugins and the two tools. */
export function fileNames(plugins: readonly string[]): readonly string[] {
  return [...plugins, ...tools];
}

export function isTool(name: string): boolean {
  return (tools as readonly string[]).includes(name);
}
