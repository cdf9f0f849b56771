import {attrs} from '../attrs.ts';
import {bool, u16, u32, u8} from '../codec.ts';

/** linux/if_link.h, enum IFLA_BRPORT_*. */
export const bridgePort = attrs({
  state: [1, u8],
  priority: [2, u16],
  cost: [3, u32],
  // IFLA_BRPORT_MODE
  hairpin: [4, bool],
  bpduGuard: [5, bool],
  rootBlock: [6, bool],
  learning: [8, bool],
  unicastFlood: [9, bool],
  proxyArp: [10, bool],
  multicastFlood: [27, bool],
  vlanTunnel: [29, bool],
  broadcastFlood: [30, bool],
  neighSuppress: [32, bool],
  isolated: [33, bool],
});
