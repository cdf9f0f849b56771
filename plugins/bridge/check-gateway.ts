import {checkMac} from '../../lib/attach/check.ts';
import {checkForwarding} from '../../lib/attach/forwarding.ts';
import type {IpConfig, Result} from '../../lib/cni/types.ts';
import type {Host} from '../../lib/host.ts';
import {familyOf} from '../../lib/ip/address.ts';
import {formatCidr, sameCidr} from '../../lib/ip/cidr.ts';
import {listAddresses} from '../../lib/netlink/route/address.ts';
import {findLink} from '../../lib/netlink/route/link.ts';
import type {Link} from '../../lib/netlink/route/link.ts';
import type {BridgeConf} from './conf.ts';
import {planGateways} from './gateway.ts';

export interface GatewayCheck {
  readonly conf: BridgeConf;
  readonly bridge: Link;
  readonly previous: Result;
  /** The container's addresses by the previous result. */
  readonly ips: readonly IpConfig[];
}

/** Throws when the host is not the gateway of these addresses: its link, its addresses, forwarding. */
export async function checkGateway(host: Host, {conf, bridge, previous, ips}: GatewayCheck): Promise<void> {
  const name = conf.vlan === 0 ? bridge.name : `${bridge.name}.${conf.vlan}`;
  const link = conf.vlan === 0 ? bridge : await findLink(host.rt, {name});
  if (!link) throw new Error(`"${name}", the gateway of VLAN ${conf.vlan}, is gone`);
  if (!link.up) throw new Error(`"${name}" is down; ip link set ${name} up`);
  const entry = previous.interfaces.find((each) => each.name === name && !each.sandbox);
  if (entry) checkMac(entry, link);
  const present = await listAddresses(host.rt, {ifindex: link.ifindex});
  for (const cidr of planGateways({ips, routes: []}, conf).gateways) {
    if (present.some((other) => sameCidr(other, cidr))) continue;
    const text = formatCidr(cidr);
    throw new Error(`gateway address ${text} is missing; ip addr add ${text} dev ${name}`);
  }
  await checkForwarding(
    host,
    ips.map(({address}) => familyOf(address.ip)),
  );
}
