import {existsSync, readFileSync, statfsSync} from 'node:fs';
import {dirname} from 'node:path';
import {probeLinkKind, probeNftables, type Presence} from './kernel.ts';

/** What an installation wants to know of a host before it writes anything. */
export interface HostFacts {
  /** Version of the C library there; null if there is none, undefined where it cannot be seen from here. */
  readonly glibc: string | null | undefined;
  readonly veth: Presence;
  readonly bridge: Presence;
  readonly nftables: Presence;
  readonly freeBytes: number;
}

/**
 * Looks at the host that will execute `<bin-dir>`. From inside a container that is another root file system: the one in
 * which the folder is called `hostBinDir`.
 */
export async function readHostFacts({
  binDir,
  hostBinDir,
}: {
  readonly binDir: string;
  readonly hostBinDir: string;
}): Promise<HostFacts> {
  const [veth, bridge, nftables] = await Promise.all([
    probeLinkKind('veth'),
    probeLinkKind('bridge'),
    probeNftables(),
  ]);
  const {bavail, bsize} = statfsSync(existingParent(binDir));
  return {glibc: findGlibc({binDir, hostBinDir}), veth, bridge, nftables, freeBytes: bavail * bsize};
}

function existingParent(path: string): string {
  return existsSync(path) ? path : existingParent(dirname(path));
}

function findGlibc({
  binDir,
  hostBinDir,
}: {
  readonly binDir: string;
  readonly hostBinDir: string;
}): HostFacts['glibc'] {
  if (binDir === hostBinDir) return ownGlibc();
  const root = binDir.endsWith(hostBinDir) ? binDir.slice(0, -hostBinDir.length) : undefined;
  // Where only some folders of the host are mounted, /etc/cni may be one of them; every host has a /usr.
  return root === undefined || !existsSync(`${root}/usr`) ? undefined : glibcBelow(root);
}

/** The one this process runs on. */
function ownGlibc(): string | undefined {
  const report = process.report.getReport() as {header?: {glibcVersionRuntime?: string}};
  return report.header?.glibcVersionRuntime;
}

const libraryFolders = [
  'lib64',
  'usr/lib64',
  'lib/x86_64-linux-gnu',
  'lib/aarch64-linux-gnu',
  'usr/lib',
  'lib',
];

/** The version that a libc.so.6 states in its text; null where there is no such file at all. */
function glibcBelow(root: string): string | null | undefined {
  const path = libraryFolders.map((folder) => `${root}/${folder}/libc.so.6`).find((file) => existsSync(file));
  if (path === undefined) return null;
  return /GNU C Library [^\n]*version (\d+\.\d+)/.exec(readFileSync(path, 'latin1'))?.[1];
}
