import {attrs} from '../../attrs.ts';
import {bytes, string, u32be} from '../../codec.ts';

/** A match of iptables inside an nftables rule, as iptables-nft makes them: enum nft_match_attributes. */
export const match = attrs({name: [1, string], revision: [2, u32be], info: [3, bytes]});
