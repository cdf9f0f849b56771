import {
  closeSync,
  constants,
  existsSync,
  futimesSync,
  linkSync,
  openSync,
  renameSync,
  unlinkSync,
  writeSync,
} from 'node:fs';
import {dirname, join} from 'node:path';
import {readReservation} from './catalog.ts';
import {isErrno, storeError} from './error.ts';
import {removeQuietly} from '../files.ts';
import {parseHolder} from './reservation.ts';
import {unfinishedName} from './tree.ts';

/**
 * Writes the reservation `path` under another name and gives it its own when it is complete, so that a kill at any
 * moment leaves it complete or not there. `false` when somebody has the address; an empty file is nobody's.
 */
export function publishReservation(path: string, text: string, modifiedSeconds: number): boolean {
  const unfinished = join(dirname(path), unfinishedName);
  try {
    writeUnfinished(unfinished, text, modifiedSeconds);
  } catch (error) {
    removeQuietly(unfinished);
    throw storeError('write a reservation to', dirname(path), error);
  }
  try {
    return giveName(unfinished, path);
  } catch (error) {
    throw storeError('create', path, error);
  }
}

function writeUnfinished(path: string, text: string, modifiedSeconds: number): void {
  const fd = openNew(path);
  try {
    const bytes = Buffer.from(text);
    let written = 0;
    while (written < bytes.length) written += writeSync(fd, bytes, written);
    futimesSync(fd, modifiedSeconds, modifiedSeconds);
  } finally {
    closeSync(fd);
  }
}

function openNew(path: string): number {
  const flags = constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL;
  try {
    return openSync(path, flags, 0o600);
  } catch (error) {
    if (!isErrno(error, 'EEXIST')) throw error;
    // Left by a kill. It may be a second name of a reservation: never write into it.
    unlinkSync(path);
    return openSync(path, flags, 0o600);
  }
}

function giveName(unfinished: string, path: string): boolean {
  if (link(unfinished, path)) return true;
  const content = readReservation(path);
  if (content === undefined || parseHolder(content)) return false;
  unlinkSync(path);
  return link(unfinished, path);
}

/** `false` when the name is taken. */
function link(from: string, to: string): boolean {
  try {
    linkSync(from, to);
  } catch (error) {
    if (isErrno(error, 'EEXIST')) return false;
    if (!isErrno(error, 'EPERM', 'ENOSYS', 'ENOTSUP', 'EOPNOTSUPP')) throw error;
    // A file system without hard links: the lock alone keeps others from the name.
    if (existsSync(to)) return false;
    renameSync(from, to);
  }
  return true;
}
