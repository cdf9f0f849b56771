import {isUnsupported} from '../error.ts';
import {NetlinkSocket} from '../socket.ts';
import type {Netlink} from '../netlink.ts';

/** A socket of NETLINK_NETFILTER in one network namespace: what every function of this folder takes first. */
export type NetfilterSocket = Netlink;

// linux/netlink.h
const netlinkNetfilter = 12;

/** Opens one in the namespace that the calling thread is in. */
export function openNetfilterSocket({timeoutMs = 5000}: {readonly timeoutMs?: number} = {}): NetlinkSocket {
  return new NetlinkSocket({protocol: netlinkNetfilter, timeoutMs});
}

/** The kernel has no nftables, or not the family that was asked for: then it holds nothing in it either. */
export function isMissingNftables(error: unknown): boolean {
  // Without nfnetlink the socket itself cannot be opened; that error comes from the system call.
  return (
    isUnsupported(error) || (error instanceof Error && 'code' in error && error.code === 'EPROTONOSUPPORT')
  );
}
