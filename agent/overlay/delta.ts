import {sameIp} from '../../lib/ip/address.ts';
import {sameCidr} from '../../lib/ip/cidr.ts';
import type {DeviceSpec} from '../../lib/overlay/device-spec.ts';
import type {Desired, PeerRoute, PeerState} from '../../lib/overlay/state.ts';

/** The peers in which two states of a network differ, each as it was and as it shall be. */
export interface Delta {
  readonly before: readonly PeerState[];
  readonly after: readonly PeerState[];
}

/** What changed between two states; `undefined` when it is more than peers: then the kernel has to be asked. */
export function findDelta(before: Desired, after: Desired): Delta | undefined {
  if (before.protocol !== after.protocol || before.network.form !== after.network.form) return undefined;
  if (!sameList(before.network.ranges, after.network.ranges, sameCidr)) return undefined;
  if (!sameList(before.devices, after.devices, sameDevice)) return undefined;
  const old = new Map(before.peers.map((state) => [state.peer, state]));
  const [was, is]: [PeerState[], PeerState[]] = [[], []];
  for (const state of after.peers) {
    const known = old.get(state.peer);
    old.delete(state.peer);
    if (known === state || (known && samePeer(known, state))) continue;
    if (known) was.push(known);
    is.push(state);
  }
  return {before: [...was, ...old.values()], after: is};
}

function samePeer(a: PeerState, b: PeerState): boolean {
  return (
    sameList(
      a.neighbours,
      b.neighbours,
      (x, y) => x.mac === y.mac && x.device === y.device && sameIp(x.ip, y.ip),
    ) &&
    sameList(a.ends, b.ends, (x, y) => x.mac === y.mac && x.device === y.device && sameIp(x.to, y.to)) &&
    sameList(a.routes, b.routes, sameRoute)
  );
}

function sameRoute(a: PeerRoute, b: PeerRoute): boolean {
  const way = ({via}: PeerRoute) => ('device' in via ? via.device : via.ifindex);
  return sameCidr(a.dst, b.dst) && sameIp(a.gateway, b.gateway) && way(a) === way(b) && a.mtu === b.mtu;
}

function sameDevice(a: DeviceSpec, b: DeviceSpec): boolean {
  const {local, addresses, ...rest} = a;
  return (
    sameIp(local, b.local) &&
    sameList(addresses, b.addresses, sameCidr) &&
    (Object.keys(rest) as (keyof typeof rest)[]).every((key) => rest[key] === b[key])
  );
}

/** Whether both have equal elements in the same order. */
export function sameList<T>(a: readonly T[], b: readonly T[], same: (a: T, b: T) => boolean): boolean {
  return a.length === b.length && a.every((each, i) => same(each, b[i]!));
}
