import {attrs} from '../../attrs.ts';
import {u64be} from '../../codec.ts';

/** `[ counter pkts 0 bytes 0 ]`: enum nft_counter_attributes. */
export const counter = attrs({bytes: [1, u64be], packets: [2, u64be]});
