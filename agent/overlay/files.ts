import {readFileSync, renameSync, writeFileSync} from 'node:fs';
import path from 'node:path';
import {ensureDirectory} from '../../lib/files.ts';

/** Writes a file so that readers see the old text or the new one, whole; an equal one is left alone. Tells if it wrote. */
export function publishFile(
  file: string,
  text: string,
  {mode = 0o644}: {readonly mode?: number} = {},
): boolean {
  if (readIfThere(file) === text) return false;
  ensureDirectory(path.dirname(file), 0o755);
  const next = `${file}.${process.pid}.new`;
  writeFileSync(next, text, {mode});
  renameSync(next, file);
  return true;
}

/** The text of a file; `undefined` when there is none. */
export function readIfThere(file: string): string | undefined {
  try {
    return readFileSync(file, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
}
