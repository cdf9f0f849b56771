import {everyStep} from '../../lib/cni/every.ts';
import {isTagOfOther} from '../../lib/cni/owner.ts';
import type {Owner} from '../../lib/cni/owner.ts';
import type {Call} from '../../lib/cni/plugin.ts';
import {findPrevResult} from '../../lib/cni/result.ts';
import type {Host, Sandbox} from '../../lib/host.ts';
import type {Cidr} from '../../lib/ip/cidr.ts';
import {removeMasquerade} from '../../lib/nat/masquerade.ts';
import {listAddresses} from '../../lib/netlink/route/address.ts';
import {findLink, removeLink} from '../../lib/netlink/route/link.ts';
import type {Link} from '../../lib/netlink/route/link.ts';
import {isNetnsNotFound} from '../../lib/netns/netns.ts';
import {findIpamType} from './ipam-type.ts';
import {removeMacSpoofCheck} from './macspoof.ts';
import {removePort} from './port.ts';

/**
 * Detaches the container; whatever is not there is removed already. Every step is taken, also after one that
 * failed. Addresses are released last: until then nobody else may have them.
 */
export async function del(call: Call, host: Host): Promise<void> {
  const ipamType = findIpamType(call);
  const owner: Owner = {network: call.name, containerId: call.containerId, ifName: call.ifName};
  const known = addressesOf(call, {isLayer2: ipamType === undefined});
  let found: readonly Cidr[] | undefined;
  await everyStep([
    async () => {
      found = await removeLinks(call, host, owner, {needsAddresses: !known});
    },
    () => removeMasquerade(host, owner, {env: call.env, ips: known ?? found}),
    () => removeMacSpoofCheck(host, owner),
    () => (ipamType === undefined ? undefined : call.delegate(ipamType, 'DEL')),
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

/** Removes the veth pair by either end. Gives the addresses the container's end had, if they are asked for. */
async function removeLinks(
  call: Call,
  host: Host,
  owner: Owner,
  {needsAddresses}: {readonly needsAddresses: boolean},
): Promise<readonly Cidr[] | undefined> {
  using sandbox = openSandbox(call, host);
  const link = sandbox && (await findLink(sandbox.rt, {name: call.ifName}));
  if (!sandbox || !link || (await isOfOther(host, link, owner))) {
    await removePort(host, owner);
    return undefined;
  }
  const addresses = needsAddresses ? await listAddresses(sandbox.rt, {ifindex: link.ifindex}) : undefined;
  await removeLink(sandbox.rt, {ifindex: link.ifindex});
  return addresses?.filter(({scope}) => scope === 0);
}

/** The path of a namespace (`/proc/<pid>/ns/net`) may lead to another container by now, which keeps its interface. */
async function isOfOther(host: Host, {ifindex, link}: Link, owner: Owner): Promise<boolean> {
  const peer = link === undefined ? undefined : await findLink(host.rt, {ifindex: link});
  return peer?.info?.kind === 'veth' && peer.link === ifindex && isTagOfOther(peer.alias, owner);
}

/** `undefined` when the container is gone. */
function openSandbox(call: Call, host: Host): Sandbox | undefined {
  if (call.netns === '') return undefined;
  try {
    return host.sandbox(call.netns);
  } catch (error) {
    if (isNetnsNotFound(error)) return undefined;
    throw new Error(`failed to open netns "${call.netns}"`, {cause: error});
  }
}
