import {attrs} from '../../attrs.ts';
import {u32be} from '../../codec.ts';
import {dataAttrs} from '../verdict.ts';

/** `[ cmp eq reg 1 value ]`: enum nft_cmp_attributes. */
export const cmp = attrs({sreg: [1, u32be], op: [2, u32be], value: [3, dataAttrs]});

/** enum nft_cmp_ops. */
export const cmpOps = {eq: 0, neq: 1, lte: 3, gte: 5} as const;
