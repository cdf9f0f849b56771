import {attrs} from '../../attrs.ts';
import {u32be} from '../../codec.ts';

/** `[ redir proto_min reg 1 ]`: enum nft_redir_attributes. */
export const redir = attrs({portMin: [1, u32be], portMax: [2, u32be], flags: [3, u32be]});
