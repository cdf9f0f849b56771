import {attrs} from '../../attrs.ts';
import {u32be} from '../../codec.ts';

/** `[ nat dnat ip addr_min reg 1 ]`: enum nft_nat_attributes. */
export const nat = attrs({
  type: [1, u32be],
  family: [2, u32be],
  addressMin: [3, u32be],
  addressMax: [4, u32be],
  portMin: [5, u32be],
  portMax: [6, u32be],
  flags: [7, u32be],
});

/** enum nft_nat_types. */
export const natTypes = {snat: 0, dnat: 1} as const;
