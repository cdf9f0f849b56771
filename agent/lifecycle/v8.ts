import {setFlagsFromString} from 'node:v8';

// A call runs most functions once or twice: with V8's thresholds (400 runs, 500 since a type was new) it takes hundreds of calls
// until they are compiled.
const flags = [
  '--sparkplug',
  '--maglev',
  '--invocation-count-for-maglev=30',
  '--minimum-invocations-after-ic-update=20',
];

/** Lets V8 compile what runs often: weft starts without, because a plugin call is over before it pays. */
export function useCompilers(): void {
  for (const flag of flags) setFlagsFromString(flag);
}

/**
 * The generation of new objects stays at its first megabyte. Where it may grow to 16, an agent keeps a hundred megabytes of
 * garbage after two thousand calls.
 */
export function keepLittleGarbage(): void {
  setFlagsFromString('--semi-space-growth-factor=1');
}
