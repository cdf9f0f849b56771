import {realpathSync} from 'node:fs';
import {readEnd} from './read-end.ts';

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
    return readEnd(file, trailer.length) === trailer || realpathSync(file) === program;
  } catch {
    // What cannot be read is executed; the kernel then says what is wrong with it.
    return false;
  }
}
