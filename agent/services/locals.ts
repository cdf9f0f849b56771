import type {Host} from '../../lib/host.ts';
import {bitsOf, familyOf, ipBytes, parseIp} from '../../lib/ip/address.ts';
import {containsIp, subnetOf, type Cidr} from '../../lib/ip/cidr.ts';
import {listAddresses} from '../../lib/netlink/route/address.ts';
import type {Local} from './changes.ts';
import {planLocal} from './ruleset.ts';

// A client on the same bridge as an instance gets the answer from that one directly, from an address that it never asked: unless the
// bridge's frames pass this host's connection tracking, or the host hides the client. An instance that is its own client needs the
// latter always.

/** Which instances are beside their clients, by the host's own addresses. */
export async function findLocals(
  host: Pick<Host, 'rt' | 'sysctl'>,
  targets: readonly string[],
): Promise<readonly Local[]> {
  if (targets.length === 0) return [];
  const subnets = (await listAddresses(host.rt)).map(({ip, prefix}) => subnetOf({ip, prefix}));
  return planLocals(targets, {subnets, bridgesAreTracked: areBridgesTracked(host)});
}

/** `bridgesAreTracked`: frames between ports of a bridge pass connection tracking (br_netfilter). */
export function planLocals(
  targets: readonly string[],
  {subnets, bridgesAreTracked}: {readonly subnets: readonly Cidr[]; readonly bridgesAreTracked: boolean},
): readonly Local[] {
  return targets.flatMap((text) => {
    const ip = parseIp(text);
    if (ip === undefined) return [];
    const family = familyOf(ip);
    const subnet = subnets.find((each) => familyOf(each.ip) === family && containsIp(each, ip));
    // Not on a link of this host: its answers come back the way the questions went.
    if (subnet === undefined) return [];
    const clients = bridgesAreTracked ? {ip, prefix: bitsOf(family)} : subnet;
    return [{family, key: ipBytes(ip), chain: planLocal(clients)}];
  });
}

function areBridgesTracked({sysctl}: Pick<Host, 'sysctl'>): boolean {
  try {
    return sysctl.read('net/bridge/bridge-nf-call-iptables').trim() === '1';
  } catch {
    // The module is not loaded.
    return false;
  }
}
