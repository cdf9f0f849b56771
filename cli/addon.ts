import {closeSync, constants, openSync, writeSync} from 'node:fs';
import {dirname} from 'node:path';
import {startupSnapshot} from 'node:v8';

/** include/uapi/asm-generic/fcntl.h: the same number on every architecture that Node has a build for. */
const O_TMPFILE = 0o20000000 | constants.O_DIRECTORY;

/** Addons of this process, by asset name. Filled after start-up only: a snapshot cannot hold them. */
const loaded = new Map<string, object>();

/**
 * The exports of a native addon embedded in the executable; it is loaded when the first of them is
 * touched, so that a call that needs none of it (VERSION) does not pay for it.
 */
export function lazyAddon(asset: string): object {
  return new Proxy(
    {},
    {get: (_, key) => (key === '__esModule' ? undefined : Reflect.get(getAddon(asset), key))},
  );
}

function getAddon(asset: string): object {
  const known = loaded.get(asset);
  if (known !== undefined) return known;
  if (startupSnapshot.isBuildingSnapshot()) {
    throw new Error(`${asset} was used while the start-up snapshot was made: use it inside functions only`);
  }
  const image = new Uint8Array(process.getBuiltinModule('node:sea').getRawAsset(asset));
  const addon = loadImage({asset, image, folders: listFolders()});
  loaded.set(asset, addon);
  return addon;
}

/** Where a file can be mapped executable: the first is nearly always right, the others are for hardened hosts. */
function listFolders(): readonly string[] {
  const own = process.env['XDG_RUNTIME_DIR'];
  const folders = [dirname(process.execPath), '/dev/shm', '/run', '/var/lib/cni', '/tmp'];
  return own === undefined || !own.startsWith('/') ? folders : [...folders, own];
}

interface Image {
  readonly asset: string;
  readonly image: Uint8Array;
  readonly folders: readonly string[];
}

/**
 * dlopen wants a file. It gets one without a name: nobody can swap it between write and load, and
 * nothing is left whatever happens. A folder can refuse the file (read-only, no O_TMPFILE) or its
 * mapping (noexec); then it is the next one's turn.
 */
function loadImage({asset, image, folders}: Image): object {
  const refusals: string[] = [];
  for (const folder of folders) {
    let fd: number | undefined;
    try {
      fd = openSync(folder, O_TMPFILE | constants.O_RDWR | constants.O_EXCL, 0o600);
      for (let done = 0; done < image.length;) done += writeSync(fd, image, done);
      const module = {exports: {}};
      process.dlopen(module, `/proc/self/fd/${fd}`);
      // The descriptor stays open: glibc knows a library by its path, and would take the next addon
      // loaded through the same number for this one.
      return module.exports;
    } catch (error) {
      if (fd !== undefined) closeSync(fd);
      refusals.push(`${folder}: ${error instanceof Error ? error.message : String(error)}`);
    }
  }
  throw new Error(
    `weft cannot load its native part ${asset}: one of these folders must be writable and not mounted noexec ` +
      `(and /proc mounted): ${refusals.join('; ')}`,
  );
}
