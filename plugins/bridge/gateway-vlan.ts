import type {Host} from '../../lib/host.ts';
import {randomMac} from '../../lib/ip/mac.ts';
import {isExists} from '../../lib/netlink/error.ts';
import {addLink, findLink, getLink, setLink} from '../../lib/netlink/route/link.ts';
import type {Link} from '../../lib/netlink/route/link.ts';
import {shortHash} from '../../lib/cni/owner.ts';
import type {BridgeConf} from './conf.ts';
import {setPortVlans} from './port-vlan.ts';

/**
 * The link that carries the gateway addresses of a VLAN: one end of a veth pair whose other end is a port of
 * the bridge in that VLAN. Made when missing; all containers of the VLAN share it.
 */
export async function ensureVlanGateway(host: Host, bridge: Link, conf: BridgeConf): Promise<Link> {
  const name = `${bridge.name}.${conf.vlan}`;
  try {
    const link = (await findLink(host.rt, {name})) ?? (await addGatewayLink(host, name, conf));
    if (!link.up) await setLink(host.rt, {ifindex: link.ifindex}, {up: true});
    await ensurePort(host, bridge, {link, vlan: conf.vlan});
    return link;
  } catch (cause) {
    throw new Error(`failed to set up the gateway of VLAN ${conf.vlan} on "${bridge.name}"`, {cause});
  }
}

async function addGatewayLink(host: Host, name: string, {mtu}: BridgeConf): Promise<Link> {
  const port = `veth${shortHash(`vlan gateway ${name}`, 8)}`;
  const peer = {name: port, mac: randomMac(), mtu};
  try {
    await addLink(host.rt, {name, mac: randomMac(), mtu, up: true, info: {kind: 'veth', data: {peer}}});
  } catch (error) {
    if (!isExists(error)) throw error;
  }
  return getLink(host.rt, {name});
}

/** Looked at each time: whoever made the pair may have been killed before it was in the bridge. */
async function ensurePort(
  host: Host,
  bridge: Link,
  {link, vlan}: {readonly link: Link; readonly vlan: number},
): Promise<void> {
  if (link.info?.kind !== 'veth' || link.link === undefined) {
    throw new Error(`"${link.name}" already exists but is not a veth; remove it or choose another bridge`);
  }
  const port = await getLink(host.rt, {ifindex: link.link});
  if (port.master === bridge.ifindex) return;
  await setLink(host.rt, {ifindex: port.ifindex}, {up: true, master: bridge.ifindex});
  await setPortVlans(host.rt, port, {vlan, trunk: [], preserveDefaultVlan: false});
}
