import {attrs} from '../../attrs.ts';
import {u32be} from '../../codec.ts';
import {dataAttrs} from '../verdict.ts';

/** `[ immediate reg 0 return ]` or a value into another register: enum nft_immediate_attributes. */
export const immediate = attrs({dreg: [1, u32be], data: [2, dataAttrs]});
