import {findSymbol} from './symbols.ts';

/** `absl::(anonymous namespace)::synch_deadlock_detection`, an OnDeadlockCycle: 0 is ignore, 1 report, 2 abort. */
const mode = '_ZN4absl12_GLOBAL__N_124synch_deadlock_detectionE';
const ignore = 0;

/**
 * Node's library Abseil is built with a debugging aid: for every lock it keeps a graph of the order in which locks are taken,
 * 1 MB of which each process fills at its start. This makes it do what it does in other release builds: nothing. Gives
 * `false`, and leaves the image alone, where there is no such aid.
 */
export function ignoreLockOrder(image: Buffer): boolean {
  const at = findSymbol(image, mode);
  if (at === undefined) return false;
  const current = image.readUInt32LE(at);
  if (current !== 1 && current !== 2) return false;
  image.writeUInt32LE(ignore, at);
  return true;
}
