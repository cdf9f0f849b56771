import {attrs, message, type Codec, type Values} from '../attrs.ts';
import {iff, ifinfomsg, linkRows} from './common.ts';

/**
 * What the other end of a veth can be made with; the kernel takes nothing else, an alias is set afterwards. Its MTU is
 * not that of this end unless it is given.
 */
export type VethPeer = Pick<Values<typeof linkRows>, 'name' | 'mac' | 'mtu' | 'group' | 'netnsFd'> & {
  readonly up?: boolean;
};

const peerMessage = message(ifinfomsg, attrs(linkRows));

/** A whole link message in the place of an attribute. */
const peer: Codec<VethPeer> = {
  put(w, {up, ...attributes}) {
    peerMessage.put(w, {header: up ? {flags: iff.up, change: iff.up} : {}, attributes});
  },
  get(b, start, end) {
    const {header, attributes} = peerMessage.get(b, start, end);
    return (header.flags & iff.up) === 0 ? attributes : {...attributes, up: true};
  },
};

/** linux/veth.h, enum VETH_INFO_*. */
export const veth = attrs({peer: [1, peer]});
