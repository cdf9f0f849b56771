import {attrs} from '../../attrs.ts';
import {u32be} from '../../codec.ts';
import {dataAttrs} from '../verdict.ts';

/** `[ bitwise reg 1 = ( reg 1 & mask ) ^ xor ]`: enum nft_bitwise_attributes. */
export const bitwise = attrs({
  sreg: [1, u32be],
  dreg: [2, u32be],
  length: [3, u32be],
  mask: [4, dataAttrs],
  xor: [5, dataAttrs],
});
