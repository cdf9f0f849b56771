import type {TestHost} from './host.ts';
import {waitFor} from './overlay-agent.ts';
import {formatIp} from '../../lib/ip/address.ts';
import {formatCidr} from '../../lib/ip/cidr.ts';
import {listAddresses} from '../../lib/netlink/route/address.ts';
import {listLinks} from '../../lib/netlink/route/link.ts';
import {listNeighbours, neighbourState} from '../../lib/netlink/route/neighbour.ts';
import {listRoutes} from '../../lib/netlink/route/route.ts';
import {openRouteSocket, rtm, type RouteSocket} from '../../lib/netlink/route/socket.ts';
import {NetlinkSocket} from '../../lib/netlink/socket.ts';
import {Netns} from '../../lib/netns/netns.ts';
import {overlayProtocol} from '../../lib/overlay/device-spec.ts';

/** What a host's kernel has of overlays, asked from the test's own process: quick enough to time repairs with. */
export interface KernelView {
  readonly rt: RouteSocket;
  /** One line for each device, address, neighbour, forwarding entry and route of overlays, in order. */
  lines(): Promise<string[]>;
  /** Waits until the kernel has exactly these lines, and returns how long it took. */
  until(lines: readonly string[], timeoutMs: number): Promise<number>;
  /** Waits until `holds`, and returns how long it took. */
  untilTrue(what: string, holds: (lines: readonly string[]) => boolean, timeoutMs: number): Promise<number>;
  /** Notes what changes of tunnels, neighbours and routes until the result is called. */
  countChanges(): Promise<() => string[]>;
  close(): void;
}

export function viewKernel(host: TestHost): KernelView {
  const netns = Netns.open(`/proc/${host.pid}/ns/net`);
  const rt = netns.run(() => openRouteSocket());
  const view: KernelView = {
    rt,
    async lines() {
      const [links, addresses, routes] = await Promise.all([
        listLinks(rt, {kind: 'vxlan'}),
        listAddresses(rt),
        listRoutes(rt),
      ]);
      const nameOf = new Map(links.map(({ifindex, name}) => [ifindex, name]));
      const entries = await Promise.all(
        links.flatMap(({ifindex}) => [
          listNeighbours(rt, {ifindex}),
          listNeighbours(rt, {ifindex, family: 'bridge'}),
        ]),
      );
      return [
        ...links.map(({name, mac, mtu, up}) => `link ${name} ${mac} mtu ${mtu} ${up ? 'up' : 'down'}`),
        ...addresses
          .filter(({ifindex, scope}) => nameOf.has(ifindex) && scope === 0)
          .map((each) => `address ${nameOf.get(each.ifindex)} ${formatCidr(each)}`),
        ...entries
          .flat()
          .filter(({state = 0}) => (state & neighbourState.permanent) !== 0)
          .map(
            ({bridge, ifindex, ip, lladdr}) =>
              `${bridge ? 'fdb' : 'neigh'} ${nameOf.get(ifindex)} ${bridge ? lladdr : ip && formatIp(ip)} ${bridge ? ip && formatIp(ip) : lladdr}`,
          ),
        ...routes
          .filter(({protocol}) => protocol === overlayProtocol)
          .map(
            ({dst, gateway, ifindex = 0, mtu}) =>
              `route ${formatCidr(dst)} via ${gateway && formatIp(gateway)} ${nameOf.get(ifindex) ?? 'direct'}${mtu === undefined ? '' : ` mtu ${mtu}`}`,
          ),
      ].toSorted();
    },
    async until(lines, timeoutMs) {
      const wanted = lines.join('\n');
      let found: string[] = [];
      return waitFor(
        'the kernel to be as it was',
        async () => (found = await view.lines()).join('\n') === wanted,
        {
          timeoutMs,
          intervalMs: 3,
          explain: () =>
            [
              ...lines.filter((line) => !found.includes(line)).map((line) => `missing: ${line}`),
              ...found.filter((line) => !lines.includes(line)).map((line) => `too many: ${line}`),
            ].join('\n'),
        },
      );
    },
    untilTrue: (what, holds, timeoutMs) =>
      waitFor(what, async () => holds(await view.lines()), {timeoutMs, intervalMs: 3}),
    async countChanges() {
      const tunnels = new Set((await listLinks(rt, {kind: 'vxlan'})).map(({ifindex}) => ifindex));
      const changes: string[] = [];
      const names = Object.fromEntries(Object.entries(rtm).map(([name, number]) => [number, name]));
      const socket = netns.run(
        () =>
          new NetlinkSocket({
            protocol: 0,
            receiveBufferBytes: 1 << 24,
            onNotification({type, buffer, start}) {
              const isNeighbour = type === rtm.newNeigh || type === rtm.delNeigh;
              // What the kernel learns and forgets by itself is no change of anybody's.
              if (isNeighbour && (buffer.readUInt16LE(start + 8) & neighbourState.permanent) === 0) return;
              // A container's interface comes up in its own time.
              if (type === rtm.newLink && !tunnels.has(buffer.readInt32LE(start + 4))) return;
              changes.push(names[type] ?? String(type));
            },
          }),
      );
      // linux/rtnetlink.h, RTNLGRP_*: links, neighbours, routes
      for (const group of [1, 3, 7, 11]) socket.join(group);
      return () => {
        socket.close();
        return changes;
      };
    },
    close() {
      rt.close();
      netns.close();
    },
  };
  return view;
}
