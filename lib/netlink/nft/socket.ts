import {NetlinkSocket} from '../socket.ts';
import type {Netlink} from '../socket.ts';

/** A socket of NETLINK_NETFILTER in one network namespace: what every function of this folder takes first. */
export type NetfilterSocket = Netlink;

// linux/netlink.h
const netlinkNetfilter = 12;

/** Opens one in the namespace that the calling thread is in. */
export function openNetfilterSocket({timeoutMs = 5000}: {readonly timeoutMs?: number} = {}): NetlinkSocket {
  return new NetlinkSocket({protocol: netlinkNetfilter, timeoutMs});
}
