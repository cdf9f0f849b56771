import {attrs} from '../../attrs.ts';
import {u32be} from '../../codec.ts';

/** `[ ct load state => reg 1 ]`: enum nft_ct_attributes. */
export const ct = attrs({dreg: [1, u32be], key: [2, u32be], sreg: [4, u32be]});

/** enum nft_ct_keys, those used. */
export const ctKeys = {state: 0, status: 2, mark: 3} as const;

/** Bits of a connection's state (linux/netfilter/nf_conntrack_common.h). */
export const ctStates = {invalid: 1, established: 2, related: 4, new: 8} as const;

/** Bits of what was done to a connection (enum ip_conntrack_status), those used. */
export const ctStatuses = {dnat: 0x20} as const;
