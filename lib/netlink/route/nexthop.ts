import type {Ip} from '../../ip/address.ts';
import {attrs, type Values} from '../attrs.ts';
import {ip, s32, u16, u8, type Codec} from '../codec.ts';
import {struct} from '../struct.ts';

/** struct rtnexthop of linux/rtnetlink.h: the length is that of the whole hop with its attributes. */
const rtnexthop = struct({length: u16, flags: u8, hops: u8, ifindex: s32});

const hopAttributes = attrs({gateway: [5, ip]});

/** RTNH_F_ONLINK: the gateway is on the link though no route says so. */
export const onlinkFlag = 4;

/** One way of a multipath route. */
export interface Nexthop {
  readonly ifindex?: number | undefined;
  readonly gateway?: Ip | undefined;
  /** Its share against the others; 1 unless given. */
  readonly weight?: number | undefined;
  readonly onlink?: boolean | undefined;
}

/** RTA_MULTIPATH: hops one behind the other, each a struct with attributes. Not marked as nested by anybody. */
export const nexthops: Codec<readonly Nexthop[]> = {
  put(w, hops) {
    for (const {ifindex = 0, gateway, weight = 1, onlink} of hops) {
      const at = w.offset;
      rtnexthop.putPart(w, {ifindex, hops: weight - 1, flags: onlink ? onlinkFlag : 0});
      const values: Values<typeof hopAttributes.table> = {gateway};
      hopAttributes.put(w, values);
      w.buffer.writeUInt16LE(w.offset - at, at);
    }
  },
  get(b, start, end) {
    const out: Nexthop[] = [];
    let at = start;
    while (end - at >= rtnexthop.size) {
      const {length, flags, hops, ifindex} = rtnexthop.read(b, at);
      if (length < rtnexthop.size || at + length > end) throw new RangeError('a next hop runs past the end');
      const {gateway} = hopAttributes.get(b, at + rtnexthop.size, at + length);
      out.push({ifindex, gateway, weight: hops + 1, onlink: (flags & onlinkFlag) !== 0});
      at += (length + 3) & ~3;
    }
    return out;
  },
};
