import {NetlinkSocket} from '../socket.ts';
import type {Netlink} from '../socket.ts';

/** A socket of NETLINK_NETFILTER in one network namespace: what every function of this folder takes first. */
export interface NetfilterSocket extends Netlink {
  readonly family: 'netfilter';
}

const netlinkNetfilter = 12;

class OpenNetfilterSocket extends NetlinkSocket implements NetfilterSocket {
  readonly family = 'netfilter';
}

/** Opens one in the namespace that the calling thread is in. */
export function openNetfilterSocket({
  timeoutMs = 5000,
}: {readonly timeoutMs?: number} = {}): OpenNetfilterSocket {
  return new OpenNetfilterSocket({protocol: netlinkNetfilter, timeoutMs});
}
