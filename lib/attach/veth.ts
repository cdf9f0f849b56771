import {allDone} from '../cni/every.ts';
import {ownerTag} from '../cni/owner.ts';
import type {Owner} from '../cni/owner.ts';
import type {Host, Sandbox} from '../host.ts';
import {randomMac} from '../ip/mac.ts';
import {isExists} from '../netlink/error.ts';
import {addLink, findLink, getLink, removeLink, setLink} from '../netlink/route/link.ts';
import type {Link} from '../netlink/route/link.ts';
import type {VethName} from './veth-name.ts';

/** Both ends of the veth pair of an attachment. */
export interface VethPair {
  /** In the host's namespace. */
  readonly host: Link;
  /** In the container's namespace. */
  readonly container: Link;
}

export interface NewVeth extends VethName {
  readonly owner: Owner;
  /** Hardware address of the container's end; a random one if not given. */
  readonly mac: string | undefined;
  /** Of both ends; the kernel's if not given. */
  readonly mtu: number | undefined;
  /** The ifindex of the bridge that the host's end becomes a port of. */
  readonly master?: number;
}

// linux/if.h, IFALIASZ, without the zero at the end.
const aliasBytes = 255;

/**
 * Makes the veth pair: the container's end is still down, the host's end is up. What the kernel refuses comes as its
 * NetlinkError, an interface that the container has already as an Error with the reference's sentence; either way
 * nothing is left of it.
 */
export async function addVeth(host: Host, sandbox: Sandbox, veth: NewVeth): Promise<VethPair> {
  const {name, left, owner} = veth;
  const {ifName} = owner;
  if (left) await removeLeft(host, sandbox, {ifName, left});
  try {
    const [, , end, container] = await addPair(host, sandbox, veth);
    // What comes to a port is the bridge's.
    if (veth.master === undefined) ignoreRouterAdvertisements(host, end);
    return {host: end, container};
  } catch (error) {
    if (isExists(error) && (await findLink(sandbox.rt, {name: ifName})))
      throw existsInContainer(ifName, name);
    // The name was free: what has it now is ours, tagged or not, unless it was taken in the meantime.
    if (!isExists(error)) await removeLink(host.rt, {name}).catch(() => {});
    throw error;
  }
}

/**
 * The pair, the tag that says whose it is, and a look at both ends: one datagram, so that nobody who kills us can
 * leave a pair without a tag.
 */
function addPair(host: Host, sandbox: Sandbox, {name, owner, mac, mtu, master}: NewVeth) {
  // Addresses are set, not left to the kernel: udev changes those that nobody chose.
  const peer = {name: owner.ifName, mac: mac ?? randomMac(), mtu, netnsFd: sandbox.netns.fd};
  const info = {kind: 'veth', data: {peer}} as const;
  const added = addLink(host.rt, {name, mac: randomMac(), mtu, up: true, master, info});
  const tagged = setLink(host.rt, {name}, {alias: ownerTag(owner, aliasBytes)});
  // A port has no use for an address, and each would be a few routes more that the kernel goes through when any link of the
  // host comes or goes. Only a kernel without IPv6 refuses it.
  if (master !== undefined) void setLink(host.rt, {name}, {ipv6: {addrGenMode: 'none'}}).catch(() => {});
  const end = getLink(host.rt, {name});
  const container = added.then(() => getLink(sandbox.rt, {name: owner.ifName}));
  return inOrder([added, tagged, end, container] as const);
}

/** As Promise.all, but once all are done, and the first of them that failed counts. */
async function inOrder<T extends readonly Promise<unknown>[]>(tasks: T) {
  await allDone(tasks);
  return Promise.all(tasks);
}

/** What an ADD of this attachment in another namespace left has no use; if the container has its other end, this ADD is one too many. */
async function removeLeft(
  host: Host,
  sandbox: Sandbox,
  {ifName, left}: {readonly ifName: string; readonly left: Link},
): Promise<void> {
  if (await findLink(sandbox.rt, {name: ifName})) throw existsInContainer(ifName, left.name);
  await removeLink(host.rt, {ifindex: left.ifindex});
}

function existsInContainer(ifName: string, name: string): Error {
  return new Error(
    `container veth name ("${ifName}") peer provided ("${name}") already exists: ` +
      `the container has an interface "${ifName}" already; DEL it first, or choose another CNI_IFNAME`,
  );
}

/** Errors mean that there is no IPv6. */
function ignoreRouterAdvertisements(host: Host, {name, ipv6}: Link): void {
  // To open the file takes longer the more namespaces there are.
  if (ipv6?.acceptRa === 0) return;
  try {
    host.sysctl.write(`net/ipv6/conf/${name}/accept_ra`, '0');
  } catch {}
}
