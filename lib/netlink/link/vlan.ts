import {attrs} from '../attrs.ts';
import {u16, u16be} from '../codec.ts';
import {u32} from '../codec.ts';
import {struct} from '../struct.ts';

/** linux/if_link.h, enum IFLA_VLAN_*. The device below is the link's `link`. */
export const vlan = attrs({
  id: [1, u16],
  // struct ifla_vlan_flags
  flags: [2, struct({flags: u32, mask: u32})],
  // ETH_P_8021Q is 0x8100.
  protocol: [5, u16be],
});
