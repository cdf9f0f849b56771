/**
 * Entry of the second bundle: what is not in the start-up snapshot, because a plugin call would pay for it. cli/main.ts
 * evaluates it when one of the tools is called.
 */
export {weft} from './weft.ts';
export {main as cnitool} from './cnitool.ts';
