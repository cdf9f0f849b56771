import type {Host} from '../../lib/host.ts';
import {formatIp, sameIp} from '../../lib/ip/address.ts';
import {listConnections, removeConnection} from '../../lib/netlink/conntrack/entry.ts';
import {portProtocols} from '../../lib/netlink/nft/match.ts';
import type {Frontend} from './frontend.ts';

// A UDP client that goes on sending keeps its connection alive, and with it the instance that its first packet was given: without this
// it would talk to one that is gone for ever.

/** Forgets UDP connections to a frontend that lead to none of its instances; gives how many. After the rules were changed. */
export async function forgetStaleConnections(
  {nft}: Pick<Host, 'nft'>,
  frontends: readonly Frontend[],
): Promise<number> {
  let forgotten = 0;
  for (const {family, address, protocol, port, targets} of frontends) {
    if (protocol !== 'udp') continue;
    const known = new Set(targets.map((target) => `${target.address} ${target.port}`));
    const found = await listConnections(nft, {family, protocol: portProtocols.udp, dstPort: port});
    for (const connection of found) {
      const {orig, reply} = connection;
      if (!sameIp(orig.dst, address) || known.has(`${formatIp(reply.src)} ${reply.srcPort}`)) continue;
      if (await removeConnection(nft, connection)) forgotten++;
    }
  }
  return forgotten;
}
