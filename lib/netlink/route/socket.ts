import type {Netlink} from '../netlink.ts';
import {NetlinkSocket, type SocketOptions} from '../socket.ts';

/** A socket of NETLINK_ROUTE in one network namespace: what every function of this folder takes first. */
export interface RouteSocket extends Netlink {
  readonly family: 'route';
}

const netlinkRoute = 0;

class OpenRouteSocket extends NetlinkSocket implements RouteSocket {
  readonly family = 'route';
}

/** Opens one in the namespace that the calling thread is in. */
export function openRouteSocket({
  timeoutMs = 5000,
  isBrief = false,
}: Pick<SocketOptions, 'timeoutMs' | 'isBrief'> = {}): OpenRouteSocket {
  return new OpenRouteSocket({protocol: netlinkRoute, timeoutMs, isBrief});
}

// linux/rtnetlink.h
export const rtm = {
  newLink: 16,
  delLink: 17,
  getLink: 18,
  setLink: 19,
  newAddr: 20,
  delAddr: 21,
  getAddr: 22,
  newRoute: 24,
  delRoute: 25,
  getRoute: 26,
  newNeigh: 28,
  delNeigh: 29,
  getNeigh: 30,
  newRule: 32,
  delRule: 33,
  getRule: 34,
  getNetconf: 82,
} as const;

// linux/socket.h
export const afUnspec = 0;
export const afInet = 2;
export const afBridge = 7;
export const afInet6 = 10;
