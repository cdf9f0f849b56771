import {once} from 'node:events';
import {toolPath} from '../integration/harness/debian.ts';
import type {Pod} from '../integration/harness/overlay-cluster.ts';
import type {OverlayRig, RigHost} from '../integration/harness/overlay-rig.ts';

/** Two namespaces on two hosts, and the address of the second. */
export interface Path {
  readonly from: {readonly host: RigHost; readonly netns: string};
  readonly to: {readonly host: RigHost; readonly netns: string; readonly address: string};
}

/** The way between two containers of the overlay. */
export function pathOf(from: Pod, to: Pod): Path {
  return {
    from: {host: from.host, netns: from.name},
    to: {host: to.host, netns: to.name, address: to.ipv4},
  };
}

/**
 * Makes by hand, on the same hosts, what an overlay is made of: bridge, veth pair, VXLAN device with static entries, route. No
 * firewall, nobody who watches: the kernel's own limit. Containers are in the namespaces `hand`.
 */
export async function makeByHand(rig: OverlayRig, {mtu}: {readonly mtu: number}): Promise<Path> {
  const [h1, h2] = rig.hosts as [RigHost, RigHost];
  const macs = ['02:00:00:00:99:01', '02:00:00:00:99:02'] as const;
  for (const [index, host] of [h1, h2].entries()) {
    const other = index === 0 ? h2 : h1;
    const [own, far] = [index + 1, 2 - index];
    await host.host.addNetns('hand');
    await host.host.sh(
      `ip link add hand0 type bridge
      ip link set hand0 mtu ${mtu} up
      ip address add 10.99.${own}.1/24 dev hand0
      ip link add handv mtu ${mtu} type veth peer name eth0 mtu ${mtu} netns hand
      ip link set handv master hand0 up
      nsenter --net=/run/netns/hand ip address add 10.99.${own}.2/24 dev eth0
      nsenter --net=/run/netns/hand ip link set eth0 up
      nsenter --net=/run/netns/hand ip route add default via 10.99.${own}.1
      ip link add hand.99 type vxlan id 99 local ${host.ipv4} dev eth0 dstport 8473 nolearning
      ip link set hand.99 address ${macs[index]} up
      ip address add 10.99.${own}.0/32 dev hand.99
      ip neigh add 10.99.${far}.0 lladdr ${macs[1 - index]} dev hand.99 nud permanent
      bridge fdb append ${macs[1 - index]} dev hand.99 dst ${other.ipv4}
      ip route add 10.99.${far}.0/24 via 10.99.${far}.0 dev hand.99 onlink`,
      {log: () => {}},
    );
  }
  return {from: {host: h1, netns: 'hand'}, to: {host: h2, netns: 'hand', address: '10.99.2.2'}};
}

/** Gbit/s that iperf3 gets through with this many connections at once. */
export async function measureThroughput(
  {from, to}: Path,
  {seconds, flows}: {readonly seconds: number; readonly flows: number},
): Promise<number> {
  const iperf = toolPath('iperf3', 'iperf');
  const server = to.host.host.start(to.host.host.inNetns(to.netns, [iperf, '-s', '-1', '--forceflush']));
  await once(server.stdout!, 'data');
  const argv = [iperf, '-J', '-c', to.address, '-t', String(seconds), '-P', String(flows), '-Z'];
  const {stdout} = await from.host.host.run(from.host.host.inNetns(from.netns, argv), {
    timeoutMs: seconds * 1000 + 30_000,
    log: () => {},
  });
  const {end} = JSON.parse(stdout) as {end: {sum_received: {bits_per_second: number}}};
  if (server.exitCode === null) await once(server, 'exit');
  return end.sum_received.bits_per_second / 1e9;
}
