import {execFileSync} from 'node:child_process';
import {createHash} from 'node:crypto';
import {existsSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync} from 'node:fs';
import {basename} from 'node:path';

import {cacheDir} from './paths.ts';
import {putFile} from './put-file.ts';

interface DebianFile {
  /** Path on a Debian mirror. */
  readonly path: string;
  readonly sha256: string;
  /** The library inside the package. */
  readonly library: string;
}

/**
 * libstdc++ and libgcc_s that Node needs, from Debian 11: new enough for Node 24 and for the
 * addons, and content with glibc 2.23. Debian 12's own want 2.36, which would shut out most of the
 * hosts that Node itself runs on.
 */
const libraries: Readonly<Record<string, readonly DebianFile[]>> = {
  x64: [
    {
      path: 'pool/main/g/gcc-10/libstdc++6_10.2.1-6_amd64.deb',
      sha256: '5c155c58935870bf3b4bfe769116841c0d286a74f59eccfd5645693ac23f06b1',
      library: 'usr/lib/x86_64-linux-gnu/libstdc++.so.6.0.28',
    },
    {
      path: 'pool/main/g/gcc-10/libgcc-s1_10.2.1-6_amd64.deb',
      sha256: 'e478f2709d8474165bb664de42e16950c391f30eaa55bc9b3573281d83a29daf',
      library: 'lib/x86_64-linux-gnu/libgcc_s.so.1',
    },
  ],
  arm64: [
    {
      path: 'pool/main/g/gcc-10/libstdc++6_10.2.1-6_arm64.deb',
      sha256: '7869aa540cc46e9f3d4267d5bde2af0e5b429a820c1d6f1a4cfccfe788c31890',
      library: 'usr/lib/aarch64-linux-gnu/libstdc++.so.6.0.28',
    },
    {
      path: 'pool/main/g/gcc-10/libgcc-s1_10.2.1-6_arm64.deb',
      sha256: 'e2fcdb378d3c1ad1bcb64d4fb6b37aab44011152beca12a4944f435a2582df1f',
      library: 'lib/aarch64-linux-gnu/libgcc_s.so.1',
    },
  ],
};

const mirrors = ['http://deb.debian.org/debian', 'http://archive.debian.org/debian'];

/** File names as the loader asks for them. */
export const libraryNames = ['libstdc++.so.6', 'libgcc_s.so.1'] as const;

/**
 * Puts both libraries into `folder`. Where Debian cannot be reached they are this machine's own; then
 * the executable needs a glibc as new as this machine's, and a sentence says so.
 */
export async function putLibraries(folder: string): Promise<void> {
  const files = libraries[process.arch] ?? [];
  try {
    if (files.length === 0) throw new Error(`no packages are listed for ${process.arch}`);
    for (const [i, file] of files.entries()) {
      putFile(unpack(await fetchPackage(file), file), `${folder}/${libraryNames[i]}`);
    }
  } catch (error) {
    for (const name of libraryNames) putFile(getLoadedLibrary(name), `${folder}/${name}`);
    console.warn(
      `note: took libstdc++ and libgcc_s of this machine, so this weft needs a glibc as new as the one here ` +
        `(Debian 11's were not to be had: ${error instanceof Error ? error.message : String(error)})`,
    );
  }
}

async function fetchPackage({path, sha256}: DebianFile): Promise<string> {
  const target = `${cacheDir}/${basename(path)}`;
  if (existsSync(target) && hash(readFileSync(target)) === sha256) return target;
  mkdirSync(cacheDir, {recursive: true});
  const failures: string[] = [];
  for (const mirror of mirrors) {
    try {
      const response = await fetch(`${mirror}/${path}`, {signal: AbortSignal.timeout(20_000)});
      if (!response.ok) throw new Error(`status ${response.status}`);
      const bytes = Buffer.from(await response.arrayBuffer());
      if (hash(bytes) !== sha256) throw new Error(`SHA-256 is ${hash(bytes)}, expected ${sha256}`);
      writeFileSync(`${target}.new`, bytes);
      renameSync(`${target}.new`, target);
      return target;
    } catch (error) {
      failures.push(`${mirror}/${path}: ${error instanceof Error ? error.message : String(error)}`);
    }
  }
  throw new Error(failures.join('; '));
}

function unpack(archive: string, {library}: DebianFile): string {
  const folder = archive.replace(/\.deb$/, '');
  if (!existsSync(`${folder}/${library}`)) {
    rmSync(folder, {recursive: true, force: true});
    execFileSync('dpkg-deb', ['-x', archive, folder], {stdio: ['ignore', 'ignore', 'inherit']});
  }
  return `${folder}/${library}`;
}

/** The file from which this very Node got the library. */
function getLoadedLibrary(name: string): string {
  const path = readFileSync('/proc/self/maps', 'utf8').match(
    new RegExp(` (/\\S*/${name.replaceAll(/[+.]/g, '\\$&')}[^\\s]*)`),
  )?.[1];
  if (path === undefined) throw new Error(`cannot find ${name}`);
  return path;
}

function hash(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex');
}
