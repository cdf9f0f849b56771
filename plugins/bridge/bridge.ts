import {randomBytes} from 'node:crypto';
import type {Host} from '../../lib/host.ts';
import {macFromBytes} from '../../lib/ip/mac.ts';
import {isExists} from '../../lib/netlink/error.ts';
import {addLink, findLink, getLink, setLink} from '../../lib/netlink/route/link.ts';
import type {Link} from '../../lib/netlink/route/link.ts';
import type {BridgeConf} from './conf.ts';

/** net/bridge/br_private.h, BR_MAX_PORTS less the bridge itself. */
export const mostPorts = 1023;

/**
 * The bridge of the configuration, up; made if it is missing. A bridge that is there keeps its MTU and
 * its VLAN filtering. Several calls may race to make it.
 */
export async function ensureBridge(host: Host, conf: BridgeConf): Promise<Link> {
  const ref = {name: conf.bridge};
  const found = await findLink(host.rt, ref);
  const bridge = found ?? (await addBridge(host, conf));
  if (bridge.info?.kind !== 'bridge') {
    throw new Error(
      `"${conf.bridge}" already exists but is not a bridge: it is ${kindOf(bridge)}; give "bridge" another name`,
    );
  }
  if (conf.vlanFiltering && !bridge.info.data?.vlanFiltering) {
    throw new Error(
      `"${conf.bridge}" does not filter VLANs, which "vlan" and "vlanTrunk" need: it was made without them; ` +
        `switch it on (ip link set ${conf.bridge} type bridge vlan_filtering 1) or give "bridge" another name`,
    );
  }
  const promisc = conf.promiscMode && !bridge.promisc;
  if (!bridge.up || promisc) {
    await setLink(host.rt, {ifindex: bridge.ifindex}, {up: true, ...(promisc && {promisc})});
  }
  return bridge;
}

async function addBridge(host: Host, conf: BridgeConf): Promise<Link> {
  try {
    await addLink(host.rt, {
      name: conf.bridge,
      info: {kind: 'bridge', data: {vlanFiltering: conf.vlanFiltering || undefined}},
      mtu: conf.mtu,
      // A bridge whose address nobody set takes the lowest of its ports, and changes it with them:
      // containers would lose their gateway until they ask again.
      mac: randomMac(),
      up: true,
    });
  } catch (error) {
    if (!isExists(error)) throw new Error(`could not add "${conf.bridge}"`, {cause: error});
  }
  try {
    host.sysctl.write(`net/ipv6/conf/${conf.bridge}/accept_ra`, '0');
  } catch {
    // Without IPv6 there is nothing to refuse.
  }
  return getLink(host.rt, {name: conf.bridge});
}

function kindOf(link: Link): string {
  if (!link.info) return 'a device';
  return `a ${link.info.kind === 'other' ? link.info.name : link.info.kind}`;
}

/** A random unicast address of the locally administered kind. */
export function randomMac(): string {
  const bytes = randomBytes(6);
  bytes[0] = (bytes[0]! & 0xfc) | 0x02;
  return macFromBytes(bytes);
}
