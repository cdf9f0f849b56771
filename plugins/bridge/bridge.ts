import type {Host} from '../../lib/host.ts';
import {randomMac} from '../../lib/ip/mac.ts';
import {isDenied, isExists, isUnsupported} from '../../lib/netlink/error.ts';
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
  const obstacle = findObstacle(bridge, conf);
  if (obstacle) throw new Error(`${obstacle.msg}; ${obstacle.remedy}`);
  const promisc = conf.promiscMode && !bridge.promisc;
  if (!bridge.up || promisc) {
    await setLink(host.rt, {ifindex: bridge.ifindex}, {up: true, ...(promisc && {promisc})});
  }
  return bridge;
}

/** Why a link that has the name of the bridge cannot be it. */
export function findObstacle(
  {info}: Link,
  {bridge, vlanFiltering}: BridgeConf,
): {readonly msg: string; readonly remedy: string} | undefined {
  if (info?.kind !== 'bridge') {
    return {
      msg: `"${bridge}" already exists but is not a bridge: it is ${kindOf(info)}`,
      remedy: 'give "bridge" another name',
    };
  }
  if (!vlanFiltering || info.data?.vlanFiltering) return undefined;
  return {
    msg: `"${bridge}" does not filter VLANs, which "vlan" and "vlanTrunk" need: it was made without them`,
    remedy: `switch it on (ip link set ${bridge} type bridge vlan_filtering 1) or give "bridge" another name`,
  };
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
    if (!isExists(error))
      throw new Error(`could not add "${conf.bridge}"${reasonOf(error, conf)}`, {cause: error});
  }
  try {
    host.sysctl.write(`net/ipv6/conf/${conf.bridge}/accept_ra`, '0');
  } catch {
    // Without IPv6 there is nothing to refuse.
  }
  return getLink(host.rt, {name: conf.bridge});
}

function reasonOf(error: unknown, {vlanFiltering}: BridgeConf): string {
  if (isDenied(error)) return ': the plugin needs CAP_NET_ADMIN';
  if (!isUnsupported(error)) return '';
  if (!vlanFiltering) return ': this kernel has no bridges; load the module (modprobe bridge)';
  return (
    ': this kernel has no bridges, or none that filter VLANs, which "vlan" and "vlanTrunk" need; ' +
    'load the module (modprobe bridge), or take a kernel with CONFIG_BRIDGE_VLAN_FILTERING'
  );
}

function kindOf(info: Link['info']): string {
  if (!info) return 'a device';
  return `a ${info.kind === 'other' ? info.name : info.kind}`;
}
