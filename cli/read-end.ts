import {closeSync, fstatSync, openSync, readSync} from 'node:fs';

/** The last `length` bytes of a file, or all of a shorter one, as latin1. */
export function readEnd(file: string, length: number): string {
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
