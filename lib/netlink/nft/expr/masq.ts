import {attrs, u32be} from '../../attrs.ts';

/** `[ masq ]`: enum nft_masq_attributes. */
export const masq = attrs({flags: [1, u32be]});
