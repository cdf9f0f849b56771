import {statSync} from 'node:fs';
import {CniError, errorCodes} from './error.ts';

/**
 * Whether a path is the network namespace this process runs in. A path that cannot be looked at is
 * not: the verbs say what is wrong with it. Throws CniError 8 if our own cannot be looked at.
 */
export function isOwnNetns(path: string): boolean {
  const theirs = statIfThere(path);
  if (!theirs) return false;
  const ours = statIfThere('/proc/self/ns/net');
  if (!ours) {
    throw new CniError(errorCodes.invalidNetns, "get plugin's netns failed", 'is /proc mounted?');
  }
  return ours.dev === theirs.dev && ours.ino === theirs.ino;
}

function statIfThere(path: string) {
  try {
    return statSync(path);
  } catch {
    return undefined;
  }
}
