import {attrs} from '../../attrs.ts';
import {u32be} from '../../codec.ts';

/** `[ numgen reg 1 = inc mod 3 ]`: enum nft_ng_attributes. The number is in host order. */
export const numgen = attrs({dreg: [1, u32be], modulus: [2, u32be], type: [3, u32be], offset: [4, u32be]});

/** enum nft_ng_types. */
export const numgenTypes = {inc: 0, random: 1} as const;
