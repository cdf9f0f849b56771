import {attrs} from '../../attrs.ts';
import {u32be} from '../../codec.ts';

/** `[ meta load nfproto => reg 1 ]`, or with `sreg` the other way: enum nft_meta_attributes. */
export const meta = attrs({dreg: [1, u32be], key: [2, u32be], sreg: [3, u32be]});

/** enum nft_meta_keys, those used. */
export const metaKeys = {mark: 3, iifname: 6, oifname: 7, nfproto: 15, l4proto: 16, secpath: 25} as const;
