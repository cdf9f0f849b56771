import {existsSync, lstatSync, readFileSync, rmSync} from 'node:fs';
import {join} from 'node:path';
import {keepBackup, lookAt, restoreBackup, writeAtomically} from './files.ts';
import type {Layout} from './layout.ts';

/**
 * Puts a stub under a name of the plugin folder; a foreign file there is kept for `giveUpName`. Gives what takes it back.
 */
export function takeName({binDir, backup}: Layout, name: string, stub: string): () => void {
  const file = join(binDir, name);
  const kept = join(backup, name);
  const occupant = lookAt(file);
  const previous = occupant === 'weft' ? readFileSync(file, 'latin1') : undefined;
  if (occupant === 'foreign') keepBackup(file, kept);
  if (previous !== stub) writeAtomically(file, stub, {mode: 0o755});
  return () => {
    if (occupant === 'foreign') restoreBackup(kept, file);
    else if (previous !== undefined) writeAtomically(file, previous, {mode: 0o755});
    else rmSync(file, {force: true});
  };
}

/** What became of a name that was given up. */
export type Outcome = 'removed' | 'restored' | 'not ours';

/** Removes a stub, or puts back what it replaced. A file that somebody else put there meanwhile stays. */
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
