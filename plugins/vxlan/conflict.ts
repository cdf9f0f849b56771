import {findKey} from '../../lib/cni/shape.ts';
import type {JsonObject} from '../../lib/cni/types.ts';
import type {Host} from '../../lib/host.ts';
import {familyOf} from '../../lib/ip/address.ts';
import {formatCidr, overlap, subnetOf} from '../../lib/ip/cidr.ts';
import {listAddresses} from '../../lib/netlink/route/address.ts';
import {findLink} from '../../lib/netlink/route/link.ts';
import type {VxlanConf} from './conf.ts';
import {listCidrs} from './host-network.ts';
import type {HostNetwork} from './render.ts';

/**
 * What stands in the way when the host got another subnet than its bridge is the gateway of: containers with addresses of the
 * old one would lose it. Only the `bridge` plugin's bridge is looked at.
 */
export async function findSubnetConflict(
  host: Host,
  {template}: VxlanConf,
  {network, delegate}: {readonly network: HostNetwork; readonly delegate: JsonObject},
): Promise<{readonly msg: string; readonly remedy: string} | undefined> {
  const read = (key: string) => findKey(delegate, key);
  if (template.type !== 'bridge' || read('isGateway') !== true || read('forceAddress') === true)
    return undefined;
  const bridge = read('bridge') ?? 'cni0';
  const link = typeof bridge === 'string' ? await findLink(host.rt, {name: bridge}) : undefined;
  if (!link) return undefined;
  const present = await listAddresses(host.rt, {ifindex: link.ifindex});
  const wanted = network.form === 'l2' ? network.networks : network.subnets;
  const old = present.filter(({ip, prefix, scope}) => {
    if (scope !== 0) return false;
    const ofFamily = wanted.filter((cidr) => familyOf(cidr.ip) === familyOf(ip));
    return ofFamily.length > 0 && !ofFamily.some((cidr) => overlap(cidr, {ip, prefix}));
  });
  if (old.length === 0) return undefined;
  return {
    msg: `this host has the subnet ${listCidrs(network.subnets)} now, but bridge "${link.name}" is of ${old.map((cidr) => formatCidr(subnetOf(cidr))).join(' and ')}`,
    remedy: `stop the containers of the old subnet, then remove its bridge (ip link del ${link.name}); or give the host its old subnet back`,
  };
}
