import {attrs} from '../../attrs.ts';
import {s32, u32} from '../../codec.ts';
import {struct} from '../../struct.ts';

/** linux/tc_act/tc_mirred.h, enum TCA_MIRRED_*: hands a packet to another link. */
export const mirred = attrs({
  // struct tc_mirred, which begins with the fields of every action (tc_gen); `ifindex` 0 as read: the link is gone.
  parms: [
    2,
    struct({index: u32, capab: u32, action: s32, refcnt: s32, bindcnt: s32, direction: s32, ifindex: u32}),
  ],
});

/** `direction`: TCA_EGRESS_REDIR, the packet leaves by the other link and goes no further here. */
export const egressRedirect = 1;
/** `action` that belongs to it: TC_ACT_STOLEN of linux/pkt_cls.h. */
export const stolen = 4;
