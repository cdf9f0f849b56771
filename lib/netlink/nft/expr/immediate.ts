import {attrs, u32be} from '../../attrs.ts';
import {dataAttrs} from '../verdict.ts';

/** `[ immediate reg 0 return ]` or a value into another register: enum nft_immediate_attributes. */
export const immediate = attrs({dreg: [1, u32be], data: [2, dataAttrs]});
