import {attrs} from '../attrs.ts';
import {bool, flag, ip, u16be, u32, u32be, u8} from '../codec.ts';
import {struct} from '../struct.ts';

/** What an outer IPv4 header says of fragments: never "don't", always "don't", or what the inner one says. */
export const vxlanDf = {unset: 0, set: 1, inherit: 2} as const;

/**
 * linux/if_link.h, enum IFLA_VXLAN_*. Changed in place: `local`, `learning`, `ttl`, `tos`, `df`, `ageing`, `group`, `link`; the
 * rest only while it is made, or "Cannot change … flag".
 */
export const vxlan = attrs({
  // The VNI, 24 bits.
  id: [1, u32],
  // The default far end, or a multicast group.
  group: [2, ip],
  // The ifindex of the device that the tunnel goes through; it goes with that.
  link: [3, u32],
  local: [4, ip],
  ttl: [5, u8],
  // 1 takes the inner header's.
  tos: [6, u8],
  // Whether far ends are learned from what comes in.
  learning: [7, bool],
  // In seconds.
  ageing: [8, u32],
  // How many entries may be learned; 0 is no limit.
  limit: [9, u32],
  // struct ifla_vxlan_port_range: source ports of the underlay, 0-0 for those of the kernel's own choice.
  portRange: [10, struct({low: u16be, high: u16be})],
  // ARP and neighbour discovery are answered from the device's own neighbours, never sent on.
  proxy: [11, bool],
  rsc: [12, bool],
  l2miss: [13, bool],
  l3miss: [14, bool],
  port: [15, u16be],
  group6: [16, ip],
  local6: [17, ip],
  // Checksums of the outer UDP header over IPv4, and the lack of them over IPv6.
  udpChecksum: [18, bool],
  udpZeroChecksum6Tx: [19, bool],
  udpZeroChecksum6Rx: [20, bool],
  remoteChecksumTx: [21, bool],
  remoteChecksumRx: [22, bool],
  // Group based policy: a mark travels in the header.
  gbp: [23, flag],
  remoteChecksumNoPartial: [24, flag],
  // The far end comes with each packet (`external`).
  collectMetadata: [25, bool],
  // Flow label of IPv6.
  label: [26, u32be],
  gpe: [27, flag],
  ttlInherit: [28, flag],
  // `vxlanDf`; kernels before 5.0 pass over it.
  df: [29, u8],
  vnifilter: [30, bool],
  localbypass: [31, bool],
});
