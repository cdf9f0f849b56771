import type {Host} from '../../lib/host.ts';
import {formatIp, sameIp} from '../../lib/ip/address.ts';
import type {Family, Ip} from '../../lib/ip/address.ts';
import {listConnections, removeConnection} from '../../lib/netlink/conntrack/entry.ts';
import type {Connection} from '../../lib/netlink/conntrack/entry.ts';
import {portProtocols} from '../../lib/netlink/nft/match.ts';
import {getRoute, routeType} from '../../lib/netlink/route/route.ts';
import {families} from './mapping.ts';
import type {Forward} from './mapping.ts';

// A UDP client that goes on sending keeps its connection alive, and a connection keeps the destination that its first packet
// was given: without this it would talk to a container that is gone, or to the host, for ever.

type ConntrackHost = Pick<Host, 'nft' | 'rt'>;

// Each costs the kernel one pass over all connections; beyond, one pass that sends more.
const mostPasses = 4;

/** Forgets UDP connections to mapped ports that lead elsewhere than the mapping says. After the mapping was made. */
export async function forgetOtherConnections(
  host: ConntrackHost,
  forwards: readonly Forward[],
): Promise<number> {
  let forgotten = 0;
  for (const family of families) {
    const udp = forwards.filter((forward) => forward.family === family && forward.protocol === 'udp');
    if (udp.length === 0) continue;
    const ports = new Set(udp.map(({hostPort}) => hostPort));
    const found = (await listByPort(host, family, ports)).filter(({orig, reply}) =>
      udp.some(
        ({hostPort, hostIp, containerPort, container}) =>
          orig.dstPort === hostPort &&
          (!hostIp || sameIp(hostIp, orig.dst)) &&
          (!sameIp(reply.src, container.ip) || reply.srcPort !== containerPort),
      ),
    );
    forgotten += await forget(host, await filterLocal(host, found));
  }
  return forgotten;
}

async function listByPort(
  host: ConntrackHost,
  family: Family,
  ports: ReadonlySet<number>,
): Promise<Connection[]> {
  const protocol = portProtocols.udp;
  if (ports.size > mostPasses) {
    const all = await listConnections(host.nft, {family, protocol});
    return all.filter(({orig}) => ports.has(orig.dstPort));
  }
  const lists = [...ports].map((dstPort) => listConnections(host.nft, {family, protocol, dstPort}));
  return (await Promise.all(lists)).flat();
}

/** Those to an address of this host: what only passes through, to the same port elsewhere, is none of ours. */
async function filterLocal(host: ConntrackHost, connections: readonly Connection[]): Promise<Connection[]> {
  const destinations = new Map<string, Ip>(connections.map(({orig}) => [formatIp(orig.dst), orig.dst]));
  const local = new Set<string>();
  await Promise.all(
    [...destinations].map(async ([text, dst]) => {
      const route = await getRoute(host.rt, {dst}).catch(() => undefined);
      if (route?.type === routeType.local) local.add(text);
    }),
  );
  return connections.filter(({orig}) => local.has(formatIp(orig.dst)));
}

/** A mapping that was removed: the port of the host, and where it led to. */
export interface Unmapped {
  readonly hostPort: number;
  readonly container: Ip;
}

/** Forgets UDP connections that were led to a container. After the mappings were removed. */
export async function forgetConnections(
  host: ConntrackHost,
  family: Family,
  unmapped: readonly Unmapped[],
): Promise<number> {
  const ports = new Set(unmapped.map(({hostPort}) => hostPort));
  const found = (await listByPort(host, family, ports)).filter(({orig, reply}) =>
    unmapped.some(
      ({hostPort, container}) =>
        // Packets that were sent to the container's own address were led nowhere.
        orig.dstPort === hostPort && sameIp(reply.src, container) && !sameIp(orig.dst, container),
    ),
  );
  return forget(host, found);
}

async function forget(host: ConntrackHost, connections: readonly Connection[]): Promise<number> {
  const removed = await Promise.all(connections.map((connection) => removeConnection(host.nft, connection)));
  return removed.filter(Boolean).length;
}
