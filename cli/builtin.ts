import {closeSync, fstatSync, openSync, readSync, realpathSync} from 'node:fs';

/** How a program knows its own files. */
export interface Own {
  /** The executable, links resolved. */
  readonly program: string;
  /** What the stubs of this build end with: see `formatTrailer`. */
  readonly trailer: string;
}

/**
 * Whether a plugin's file is this very program: a link to the executable (dist/bin), or a file that ends with this
 * build's trailer (an installed stub). Another version's file is not ours: it may do something else.
 */
export function isOwnFile(file: string, {program, trailer}: Own): boolean {
  try {
    return realpathSync(file) === program || readEnd(file, trailer.length) === trailer;
  } catch {
    // What cannot be read is executed; the kernel then says what is wrong with it.
    return false;
  }
}

function readEnd(file: string, length: number): string {
  const fd = openSync(file, 'r');
  try {
    const end = Buffer.alloc(length);
    const {size} = fstatSync(fd);
    const read = readSync(fd, end, 0, length, Math.max(0, size - length));
    return end.toString('latin1', 0, read);
  } finally {
    closeSync(fd);
  }
}
