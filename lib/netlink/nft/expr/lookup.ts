import {attrs} from '../../attrs.ts';
import {string, u32be} from '../../codec.ts';

/** `[ lookup reg 1 set name dreg 0 ]`: enum nft_lookup_attributes. Without `dreg` it only matches. */
export const lookup = attrs({
  set: [1, string],
  sreg: [2, u32be],
  dreg: [3, u32be],
  /** Names a set that the same transaction makes; its name is enough as well. */
  setId: [4, u32be],
  flags: [5, u32be],
});
