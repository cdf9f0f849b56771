import {s32, u16, u32, u8} from '../codec.ts';
import {struct} from '../struct.ts';

/** linux/rtnetlink.h, the messages of traffic control. */
export const rtmTc = {
  newQdisc: 36,
  delQdisc: 37,
  getQdisc: 38,
  newClass: 40,
  delClass: 41,
  getClass: 42,
  newFilter: 44,
  delFilter: 45,
  getFilter: 46,
} as const;

/** struct tcmsg of linux/rtnetlink.h. What `info` says depends on the object: of a filter, priority and protocol. */
export const tcmsg = struct({
  family: u8,
  pad1: u8,
  pad2: u16,
  ifindex: s32,
  handle: u32,
  parent: u32,
  info: u32,
});

/** linux/rtnetlink.h, enum TCA_*: the two that every object has; the options' form depends on the kind. */
export const tca = {kind: 1, options: 2} as const;

/** struct tc_ratespec of linux/pkt_sched.h; `rate` is in bytes per second. */
export const rateSpec = struct({
  cellLog: u8,
  linkLayer: u8,
  overhead: u16,
  cellAlign: u16,
  mpu: u16,
  rate: u32,
});

/** The largest rate that fits struct tc_ratespec; larger ones travel in an attribute of 64 bits beside it. */
export const largestRate = 0xffff_ffff;
