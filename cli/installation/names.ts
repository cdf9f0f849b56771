import {existsSync, lstatSync, readFileSync, rmSync} from 'node:fs';
import {join} from 'node:path';
import {keepBackup, lookAt, restoreBackup, writeAtomically} from './files.ts';
import type {Layout} from './layout.ts';

/**
 * Puts a file of ours under a name of the plugin folder; a foreign one there is kept for `giveUpName`. Gives what takes it
 * back.
 */
export function takeName({binDir, backup}: Layout, name: string, content: Buffer): () => void {
  const file = join(binDir, name);
  const kept = join(backup, name);
  const occupant = lookAt(file);
  const previous = occupant === 'weft' ? readFileSync(file) : undefined;
  if (occupant === 'foreign') keepBackup(file, kept);
  if (!previous?.equals(content)) writeAtomically(file, content, {mode: 0o755});
  return () => {
    if (occupant === 'foreign') restoreBackup(kept, file);
    else if (previous !== undefined) writeAtomically(file, previous, {mode: 0o755});
    else rmSync(file, {force: true});
  };
}

/** What became of a name that was given up. */
export type Outcome = 'removed' | 'restored' | 'not ours';

/** Removes a file of ours, or puts back what it replaced. A file that somebody else put there meanwhile stays. */
export function giveUpName({binDir, backup}: Layout, name: string): Outcome {
  const file = join(binDir, name);
  const kept = join(backup, name);
  const occupant = lookAt(file);
  if (occupant === 'foreign') return 'not ours';
  if (lstatSync(kept, {throwIfNoEntry: false}) !== undefined) {
    restoreBackup(kept, file);
    return 'restored';
  }
  if (existsSync(file)) rmSync(file);
  return 'removed';
}
