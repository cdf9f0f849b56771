import {attrs} from '../../attrs.ts';
import {u32be} from '../../codec.ts';
import {dataAttrs} from '../verdict.ts';

/** `[ range neq reg 1 from to ]`: enum nft_range_attributes. */
export const range = attrs({sreg: [1, u32be], op: [2, u32be], from: [3, dataAttrs], to: [4, dataAttrs]});

/** enum nft_range_ops. */
export const rangeOps = {eq: 0, neq: 1} as const;
