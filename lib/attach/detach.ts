import {validAttachments} from '../cni/attachments.ts';
import {everyStep} from '../cni/every.ts';
import {findIpamType} from '../cni/ipam-type.ts';
import type {Owner} from '../cni/owner.ts';
import type {Call} from '../cni/plugin.ts';
import {findPrevResult} from '../cni/result.ts';
import type {Attachment} from '../cni/types.ts';
import type {Host} from '../host.ts';
import type {Cidr} from '../ip/cidr.ts';
import {gcMasquerade, removeMasquerade} from '../nat/masquerade.ts';
import {beginVethRemoval, removeStaleVeths} from './veth-removal.ts';
import type {PairRemoval} from './veth-removal.ts';

/** What a plugin removes beside the veth pair, the masquerade and the addresses. */
export interface Removal {
  readonly ofOne?: (owner: Owner) => Promise<unknown>;
  readonly ofStale?: (keep: readonly Attachment[]) => Promise<unknown>;
}

/**
 * DEL of a plugin that makes veth pairs: detaches the container; whatever is not there is removed already. Every step is
 * taken, also after one that failed. Addresses are released last: until then nobody else may have them.
 */
export async function detach(call: Call, host: Host, {ofOne}: Removal = {}): Promise<void> {
  const ipamType = findIpamType(call);
  const owner: Owner = {network: call.name, containerId: call.containerId, ifName: call.ifName};
  const known = addressesOf(call, {isLayer2: ipamType === undefined});
  let removal: PairRemoval | undefined;
  await everyStep([
    async () => {
      removal = await beginVethRemoval(call, host, owner, {needsAddresses: !known});
    },
    // While the kernel waits for its processors; the link is down already, so nothing leaves with the container's address.
    () => removeMasquerade(host, owner, {env: call.env, ips: known ?? removal?.addresses}),
    () => ofOne?.(owner),
    () => removal?.gone(),
    () => (ipamType === undefined ? undefined : call.delegate(ipamType, 'DEL')),
  ]);
}

/**
 * GC of a plugin that makes veth pairs: removes what belongs to this network and to none of the attachments that are
 * still in use, and what IPAM holds for them. Looks for everything, whatever the configuration says now.
 */
export async function collect(call: Call, host: Host, {ofStale}: Removal = {}): Promise<void> {
  const ipamType = findIpamType(call);
  const keep = validAttachments(call);
  await everyStep([
    () => removeStaleVeths(host, call, keep),
    () => gcMasquerade(host, call.name, keep, {env: call.env}),
    () => ofStale?.(keep),
    () => (ipamType === undefined ? undefined : call.delegate(ipamType, 'GC')),
  ]);
}

/**
 * The container's addresses by the previous result; `undefined` if nothing is known of them. Of a network with IPAM a
 * result without any says nothing: plugins behind us in the chain, and runtimes, may have changed it.
 */
function addressesOf(call: Call, {isLayer2}: {readonly isLayer2: boolean}): readonly Cidr[] | undefined {
  const previous = findPrevResult(call);
  if (!previous) return undefined;
  const own = previous.ips.filter(({interface: index}) => {
    return index === undefined || previous.interfaces[index]?.name === call.ifName;
  });
  return own.length > 0 || isLayer2 ? own.map(({address}) => address) : undefined;
}
