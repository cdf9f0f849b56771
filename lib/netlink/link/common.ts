import {mac, s32, string, text, u16, u32, u8} from '../codec.ts';
import {struct} from '../struct.ts';

/** struct ifinfomsg of linux/rtnetlink.h. */
export const ifinfomsg = struct({family: u8, type: u16, ifindex: s32, flags: u32, change: u32});

/** What every link has, a veth's peer included (linux/if_link.h, enum IFLA_*). */
export const linkRows = {
  mac: [1, mac],
  broadcast: [2, mac],
  name: [3, string],
  mtu: [4, u32],
  // IFLA_LINK: the other end of a veth, the device below a VLAN.
  link: [5, u32],
  // IFLA_MASTER: 0 takes the link out of its bridge.
  master: [10, u32],
  // IFLA_TXQLEN: in packets.
  txQueueLength: [13, u32],
  operstate: [16, u8],
  alias: [20, text],
  group: [27, u32],
  netnsFd: [28, u32],
  extMask: [29, u32],
  promiscuity: [30, u32],
  txQueues: [31, u32],
  rxQueues: [32, u32],
  // IFLA_LINK_NETNSID: an id of the namespace that `link` is in, if not this one.
  linkNetnsId: [37, s32],
  minMtu: [50, u32],
  maxMtu: [51, u32],
} as const;

/** IFF_* of linux/if.h. */
export const iff = {
  up: 0x1,
  loopback: 0x8,
  noArp: 0x80,
  promisc: 0x100,
  allMulti: 0x200,
  lowerUp: 0x1_0000,
} as const;
