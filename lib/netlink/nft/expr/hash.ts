import {attrs} from '../../attrs.ts';
import {u32be} from '../../codec.ts';

/** `[ hash reg 1 = jhash(reg 1, 4, 0x1) % mod 251 ]`: enum nft_hash_attributes. The number is in host order. */
export const hash = attrs({
  sreg: [1, u32be],
  dreg: [2, u32be],
  length: [3, u32be],
  modulus: [4, u32be],
  seed: [5, u32be],
  offset: [6, u32be],
  type: [7, u32be],
});

/** enum nft_hash_types. */
export const hashTypes = {jenkins: 0} as const;
