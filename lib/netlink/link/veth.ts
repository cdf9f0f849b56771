import {attrs, message, type Values} from '../attrs.ts';
import type {Codec} from '../codec.ts';
import {ifinfomsg, linkRows} from './common.ts';

/**
 * What the other end of a veth can be made with; the kernel takes nothing else: it is set up and gets its alias
 * afterwards. Its MTU is not that of this end unless it is given.
 */
export type VethPeer = Pick<Values<typeof linkRows>, 'name' | 'mac' | 'mtu' | 'group' | 'netnsFd'>;

const peerMessage = message(ifinfomsg, attrs(linkRows));

/** A whole link message in the place of an attribute; its header is all zero. */
const peer: Codec<VethPeer> = {
  put: (w, attributes) => peerMessage.put(w, {attributes}),
  get: (b, start, end) => peerMessage.get(b, start, end).attributes,
};

/** linux/veth.h, enum VETH_INFO_*. */
export const veth = attrs({peer: [1, peer]});
