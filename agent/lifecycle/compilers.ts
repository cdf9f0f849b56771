import {setFlagsFromString} from 'node:v8';

/** Lets V8 compile what runs often: weft starts without, because a plugin call is over before it pays. */
export function useCompilers(): void {
  for (const flag of ['--sparkplug', '--maglev']) setFlagsFromString(flag);
}
