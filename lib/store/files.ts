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

/** Removes a file where that is possible; what is left is no reason to fail. */
export function removeQuietly(path: string): void {
  try {
    unlinkSync(path);
  } catch {
    // Gone already, or whoever needs the name will say what is wrong with it.
  }
}
