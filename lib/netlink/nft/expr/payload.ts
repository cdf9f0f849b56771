import {attrs} from '../../attrs.ts';
import {u32be} from '../../codec.ts';

/** `[ payload load 4b @ network header + 16 => reg 1 ]`: enum nft_payload_attributes. */
export const payload = attrs({dreg: [1, u32be], base: [2, u32be], offset: [3, u32be], length: [4, u32be]});

/** enum nft_payload_bases. */
export const payloadBases = {link: 0, network: 1, transport: 2} as const;
