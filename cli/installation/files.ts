import {
  chmodSync,
  closeSync,
  fsyncSync,
  linkSync,
  lstatSync,
  mkdirSync,
  openSync,
  readlinkSync,
  readSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import {dirname} from 'node:path';
import {readEnd} from '../read-end.ts';

/** What is at a path: nothing, a file of some weft (a stub or a client), or something that is not ours. */
export type Occupant = 'nothing' | 'weft' | 'foreign';

/** Ends every file that stands for a plugin of some build of weft: see `formatTrailer`. */
const anyTrailer = /\n?# weft \S+ [0-9a-f]{16}\n$/;
const trailerRoom = 256;

/** Looks at the file itself, never at what a link leads to. */
export function lookAt(path: string): Occupant {
  const stat = lstatSync(path, {throwIfNoEntry: false});
  if (stat === undefined) return 'nothing';
  if (!stat.isFile()) return 'foreign';
  return anyTrailer.test(readEnd(path, trailerRoom)) ? 'weft' : 'foreign';
}

/**
 * Writes a file so that whoever opens the name gets the old content or the new one, all of it, even after a power
 * failure.
 */
export function writeAtomically(
  path: string,
  content: string | Uint8Array,
  {mode}: {readonly mode: number},
): void {
  replaceWith(path, (temporary) => {
    writeFileSync(temporary, content);
    chmodSync(temporary, mode);
  });
}

/** As `writeAtomically`, with the content of another file. */
export function copyAtomically(source: string, path: string, {mode}: {readonly mode: number}): void {
  replaceWith(path, (temporary) => {
    copyInLargeParts(source, temporary);
    chmodSync(temporary, mode);
  });
}

const partBytes = 16 << 20;

/**
 * What is written in one piece the kernel keeps in large pages of its cache, which every process maps faster: a plugin
 * starts a millisecond earlier than from a copy by copy_file_range(2).
 */
function copyInLargeParts(source: string, target: string): void {
  const from = openSync(source, 'r');
  try {
    const to = openSync(target, 'wx', 0o600);
    try {
      const part = Buffer.allocUnsafe(partBytes);
      for (let size; (size = readSync(from, part)) > 0;)
        for (let done = 0; done < size;) done += writeSync(to, part, done, size - done);
    } finally {
      closeSync(to);
    }
  } finally {
    closeSync(from);
  }
}

function replaceWith(path: string, make: (temporary: string) => void): void {
  const temporary = `${path}.weft-new`;
  rmSync(temporary, {force: true});
  try {
    make(temporary);
    const fd = openSync(temporary, 'r');
    try {
      fsyncSync(fd);
    } finally {
      closeSync(fd);
    }
    renameSync(temporary, path);
  } catch (error) {
    rmSync(temporary, {force: true});
    throw error;
  }
}

/**
 * Keeps a second name of a file or link, so that the first can be replaced without a moment in which there is none. A
 * backup from before goes: what is restored is what was there last.
 */
export function keepBackup(path: string, backup: string): void {
  mkdirSync(dirname(backup), {recursive: true});
  rmSync(backup, {force: true});
  const stat = lstatSync(path);
  if (stat.isSymbolicLink()) {
    symlinkSync(readlinkSync(path), backup);
    return;
  }
  if (!stat.isFile()) throw new Error(`${path} is neither a file nor a link: move it away`);
  try {
    linkSync(path, backup);
  } catch {
    // Some file systems have no hard links.
    copyAtomically(path, backup, {mode: stat.mode & 0o7777});
  }
}

/** Puts a backup back into its place, in one step where both are on one file system. */
export function restoreBackup(backup: string, path: string): void {
  try {
    renameSync(backup, path);
  } catch (error) {
    if (!(error instanceof Error && 'code' in error && error.code === 'EXDEV')) throw error;
    copyAtomically(backup, path, {mode: lstatSync(backup).mode & 0o7777});
    rmSync(backup);
  }
}
