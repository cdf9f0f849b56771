import {validAttachments} from '../../lib/cni/attachments.ts';
import {everyStep} from '../../lib/cni/every.ts';
import {isStaleTag, ownerKey} from '../../lib/cni/owner.ts';
import type {Call} from '../../lib/cni/plugin.ts';
import type {Host} from '../../lib/host.ts';
import {gcMasquerade} from '../../lib/nat/masquerade.ts';
import {listLinks, removeLink} from '../../lib/netlink/route/link.ts';
import {findIpamType} from './ipam-type.ts';
import {gcMacSpoofCheck} from './macspoof.ts';

/**
 * Removes what belongs to this network and to none of the attachments that are still in use: masquerade, source
 * address filters, veth pairs, and what IPAM holds. Looks for everything, whatever the configuration says now.
 */
export async function gc(call: Call, host: Host): Promise<void> {
  const ipamType = findIpamType(call);
  const keep = validAttachments(call);
  await everyStep([
    () => removeStalePorts(host, call, new Set(keep.map((each) => ownerKey({network: call.name, ...each})))),
    () => gcMasquerade(host, call.name, keep, {env: call.env}),
    () => gcMacSpoofCheck(host, call.name, keep),
    () => (ipamType === undefined ? undefined : call.delegate(ipamType, 'GC')),
  ]);
}

async function removeStalePorts(host: Host, call: Call, keep: ReadonlySet<string>): Promise<void> {
  const links = await listLinks(host.rt, {kind: 'veth'});
  const stale = links.filter(({alias}) => isStaleTag(alias, call.name, keep));
  await everyStep(
    stale.map((link) => () => {
      call.log.info({link: link.name, alias: link.alias}, 'remove the veth pair of a container that is gone');
      return removeLink(host.rt, {ifindex: link.ifindex});
    }),
  );
}
