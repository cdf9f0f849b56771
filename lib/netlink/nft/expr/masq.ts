import {attrs} from '../../attrs.ts';
import {u32be} from '../../codec.ts';

/** `[ masq proto_min reg 1 proto_max reg 2 flags 0x12 ]`: enum nft_masq_attributes. */
export const masq = attrs({flags: [1, u32be], portMin: [2, u32be], portMax: [3, u32be]});

/** linux/netfilter/nf_nat.h, NF_NAT_RANGE_*: ports are given; they are chosen at random. */
export const natRangeFlags = {ports: 2, fullyRandom: 16} as const;
