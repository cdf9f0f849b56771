import {attrs} from '../../attrs.ts';
import {u32be} from '../../codec.ts';

/** `[ masq ]`: enum nft_masq_attributes. */
export const masq = attrs({flags: [1, u32be]});
