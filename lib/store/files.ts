import {mkdirSync, unlinkSync} from 'node:fs';
import {dirname} from 'node:path';
import {isErrno} from './error.ts';

/**
 * Makes a directory and those above it. Node's own `recursive` tries for ever where a parent is there but takes no
 * directories, as /proc.
 */
export function ensureDirectory(path: string, mode: number): void {
  try {
    mkdirSync(path, {mode});
  } catch (error) {
    if (isErrno(error, 'EEXIST')) return;
    if (!isErrno(error, 'ENOENT') || dirname(path) === path) throw error;
    ensureDirectory(dirname(path), mode);
    ensureLeaf(path, mode);
  }
}

function ensureLeaf(path: string, mode: number): void {
  try {
    mkdirSync(path, {mode});
  } catch (error) {
    // Another process was faster.
    if (!isErrno(error, 'EEXIST')) throw error;
  }
}

/** Removes a file where that is possible; `false` when it is still there. */
export function removeQuietly(path: string): boolean {
  try {
    unlinkSync(path);
    return true;
  } catch (error) {
    return isErrno(error, 'ENOENT');
  }
}
