import {attrs} from '../../attrs.ts';
import {u32be} from '../../codec.ts';

/** `[ rt load ipsec => reg 1 ]`: enum nft_rt_attributes. */
export const rt = attrs({dreg: [1, u32be], key: [2, u32be]});

/** enum nft_rt_keys, those used: whether the route leads through a transformation (IPsec). */
export const rtKeys = {xfrm: 4} as const;
