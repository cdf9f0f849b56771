import type {Host} from '../../lib/host.ts';
import {formatIp, type Family} from '../../lib/ip/address.ts';
import {listConnections, removeConnection, type Connection} from '../../lib/netlink/conntrack/entry.ts';
import {portProtocols} from '../../lib/netlink/nft/match.ts';
import type {Frontend} from './frontend.ts';

// A UDP client that goes on sending keeps its connection alive, and with it the instance that its first packet was given: without this
// it would talk to one that is gone for ever.

/** Each costs the kernel a pass over all connections; beyond, one pass that sends more. */
const mostPasses = 4;

/** Forgets UDP connections to frontends that lead to none of their instances; gives how many. After the rules were changed. */
export async function forgetStaleConnections(
  {nft}: Pick<Host, 'nft'>,
  frontends: readonly Frontend[],
): Promise<number> {
  let forgotten = 0;
  for (const family of [4, 6] as const) {
    const udp = frontends.filter((each) => each.family === family && each.protocol === 'udp');
    if (udp.length === 0) continue;
    const known = new Map(udp.map((each) => [nameOf(formatIp(each.address), each.port), targetsOf(each)]));
    for (const connection of await listTo(nft, family, new Set(udp.map(({port}) => port)))) {
      const {orig, reply} = connection;
      const targets = known.get(nameOf(formatIp(orig.dst), orig.dstPort));
      if (targets === undefined || targets.has(nameOf(formatIp(reply.src), reply.srcPort))) continue;
      if (await removeConnection(nft, connection)) forgotten++;
    }
  }
  return forgotten;
}

async function listTo(
  nft: Host['nft'],
  family: Family,
  ports: ReadonlySet<number>,
): Promise<readonly Connection[]> {
  const protocol = portProtocols.udp;
  if (ports.size > mostPasses) return listConnections(nft, {family, protocol});
  const lists = await Promise.all(
    [...ports].map((dstPort) => listConnections(nft, {family, protocol, dstPort})),
  );
  return lists.flat();
}

const nameOf = (address: string, port: number) => `${address} ${port}`;

function targetsOf({targets}: Frontend): ReadonlySet<string> {
  return new Set(targets.map(({address, port}) => nameOf(address, port)));
}
