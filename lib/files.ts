import {mkdirSync, unlinkSync} from 'node:fs';
import {dirname} from 'node:path';

/**
 * Makes a directory and those above it. Node's own `recursive` tries for ever where a parent is there but takes no
 * directories, as /proc.
 */
export function ensureDirectory(path: string, mode: number): void {
  try {
    mkdirSync(path, {mode});
  } catch (error) {
    if (codeOf(error) === 'EEXIST') return;
    if (codeOf(error) !== 'ENOENT' || dirname(path) === path) throw error;
    ensureDirectory(dirname(path), mode);
    ensureLeaf(path, mode);
  }
}

function ensureLeaf(path: string, mode: number): void {
  try {
    mkdirSync(path, {mode});
  } catch (error) {
    // Another process was faster.
    if (codeOf(error) !== 'EEXIST') throw error;
  }
}

/** Removes a file where that is possible; `false` when it is still there. */
export function removeQuietly(path: string): boolean {
  try {
    unlinkSync(path);
    return true;
  } catch (error) {
    return codeOf(error) === 'ENOENT';
  }
}

/** Removes a file; what is not there is removed already. Throws what else unlink(2) says. */
export function removeIfThere(path: string): void {
  try {
    unlinkSync(path);
  } catch (error) {
    if (!isGone(error)) throw error;
  }
}

/** Whether an error says that a file is not there, or what should be its directory is none. */
export function isGone(error: unknown): boolean {
  return ['ENOENT', 'ENOTDIR'].includes(codeOf(error) ?? '');
}

function codeOf(error: unknown): string | undefined {
  return (error as NodeJS.ErrnoException).code;
}
