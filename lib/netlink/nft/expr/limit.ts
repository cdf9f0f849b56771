import {attrs} from '../../attrs.ts';
import {u32be, u64be} from '../../codec.ts';

/** `[ limit rate over 5/second burst 5 type packets ]`: enum nft_limit_attributes. */
export const limit = attrs({
  rate: [1, u64be],
  /** Seconds. */
  unit: [2, u64be],
  burst: [3, u32be],
  type: [4, u32be],
  flags: [5, u32be],
});

/** NFT_LIMIT_F_INV: what is beyond the limit matches. */
export const limitOver = 1;
