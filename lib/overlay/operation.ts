import {formatIp} from '../ip/address.ts';
import {formatCidr} from '../ip/cidr.ts';
import type {Request} from '../netlink/message.ts';
import {neighbourFlag, neighbourRequests, type Neighbour} from '../netlink/route/neighbour.ts';
import {routeRequests, type RouteSpec} from '../netlink/route/route.ts';

/** Why something is done: it was not there, said something else, or is there for nobody. */
export type Why = 'missing' | 'different' | 'stale';

/** One change to the kernel, as data. A `set` makes or overwrites; a `remove` of what is gone is no error. */
export type Operation = {
  /** The peer that it is for; `undefined` when nobody needs the object any more. */
  readonly peer?: string | undefined;
  readonly action: 'set' | 'remove';
  readonly why: Why;
} & (
  | {readonly kind: 'neighbour' | 'end'; readonly entry: Neighbour}
  | {readonly kind: 'route'; readonly route: RouteSpec}
);

/** The hardware address of what is sent to everybody: it may have many ends. */
export const everybody = '00:00:00:00:00:00';

/** An entry of a tunnel's forwarding table. */
export function endEntry(ifindex: number, {mac, to}: {readonly mac: string; readonly to: Neighbour['ip']}) {
  return {ifindex, bridge: true, lladdr: mac, ip: to, flags: neighbourFlag.self} satisfies Neighbour;
}

/** The message that does it. */
export function requestOf(operation: Operation): Request {
  const {action} = operation;
  if (operation.kind === 'route')
    return action === 'set'
      ? routeRequests.add(operation.route, 'replace')
      : routeRequests.remove(operation.route);
  const {entry} = operation;
  if (action === 'remove') return neighbourRequests.remove(entry);
  return entry.lladdr === everybody ? neighbourRequests.append(entry) : neighbourRequests.set(entry);
}

/** The command of iproute2 that does the same, for logs and tests; links are numbers unless `nameOf` knows them. */
export function formatOperation(
  operation: Operation,
  nameOf: (ifindex: number) => string = (ifindex) => `#${ifindex}`,
): string {
  const {action, kind} = operation;
  if (kind === 'route') {
    const {dst, gateway, ifindex, onlink, mtu} = operation.route;
    return [
      `ip route ${action === 'set' ? 'replace' : 'del'} ${formatCidr(dst)}`,
      gateway && `via ${formatIp(gateway)}`,
      ifindex === undefined ? undefined : `dev ${nameOf(ifindex)}`,
      onlink ? 'onlink' : undefined,
      mtu === undefined ? undefined : `mtu ${mtu}`,
    ]
      .filter((part) => part !== undefined)
      .join(' ');
  }
  const {ip, lladdr, ifindex} = operation.entry;
  const where = `dev ${nameOf(ifindex)}`;
  if (kind === 'end') {
    const verb = action === 'remove' ? 'del' : lladdr === everybody ? 'append' : 'replace';
    return `bridge fdb ${verb} ${lladdr} ${where}${ip ? ` dst ${formatIp(ip)}` : ''}`;
  }
  const verb = action === 'set' ? 'replace' : 'del';
  return `ip neigh ${verb} ${ip ? formatIp(ip) : ''}${action === 'set' ? ` lladdr ${lladdr}` : ''} ${where}`;
}
