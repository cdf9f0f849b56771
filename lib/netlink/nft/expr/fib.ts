import {attrs} from '../../attrs.ts';
import {u32be} from '../../codec.ts';

/** `[ fib daddr type => reg 1 ]`: enum nft_fib_attributes. */
export const fib = attrs({dreg: [1, u32be], result: [2, u32be], flags: [3, u32be]});

/** enum nft_fib_result and nft_fib_flags, those used. */
export const fibResults = {addressType: 3} as const;
export const fibFlags = {daddr: 2} as const;
