import {attrs} from '../../attrs.ts';
import {u32be, u8} from '../../codec.ts';

/** `[ reject type 1 code 0 ]`: enum nft_reject_attributes. */
export const reject = attrs({type: [1, u32be], code: [2, u8]});

/** enum nft_reject_types, and enum nft_reject_inet_code for `icmpx`. */
export const rejectTypes = {icmp: 0, tcpReset: 1, icmpx: 2} as const;
export const icmpxCodes = {noRoute: 0, portUnreachable: 1} as const;
