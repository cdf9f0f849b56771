import {attrs} from '../attrs.ts';
import {bool, bytes, u16, u32} from '../codec.ts';

/** linux/if_link.h, enum IFLA_BR_*: what a bridge is told when it is made or changed. Times are in 1/100 s. */
export const bridge = attrs({
  forwardDelay: [1, u32],
  helloTime: [2, u32],
  maxAge: [3, u32],
  ageingTime: [4, u32],
  stpState: [5, u32],
  priority: [6, u16],
  vlanFiltering: [7, bool],
  groupFwdMask: [9, u16],
  bridgeId: [11, bytes],
  mcastSnooping: [23, bool],
  vlanDefaultPvid: [39, u16],
});
