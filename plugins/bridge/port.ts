import {allDone} from '../../lib/cni/every.ts';
import {isOwnTag, ownerTag, shortHash} from '../../lib/cni/owner.ts';
import type {Owner} from '../../lib/cni/owner.ts';
import type {Host, Sandbox} from '../../lib/host.ts';
import {isExists, isFull} from '../../lib/netlink/error.ts';
import {setBridgePort} from '../../lib/netlink/route/bridge-port.ts';
import {addLink, findLink, getLink, removeLink, setLink} from '../../lib/netlink/route/link.ts';
import type {Link} from '../../lib/netlink/route/link.ts';
import {mostPorts, randomMac} from './bridge.ts';
import type {BridgeConf} from './conf.ts';
import {setPortVlans} from './port-vlan.ts';

/** Both ends of the veth pair of an attachment. */
export interface Port {
  /** In the host's namespace, a port of the bridge. */
  readonly host: Link;
  /** In the container's namespace. */
  readonly container: Link;
}

// linux/if.h, IFALIASZ, without the zero at the end.
const aliasBytes = 255;
const nameAttempts = 4;
const aboutPorts = `the kernel allows ${mostPorts} ports; put further networks on bridges of their own`;

/**
 * The host end's name. It follows from the owner, so that DEL finds it without a namespace. `attempt` counts
 * names that somebody else has.
 */
export function hostVethName({network, containerId, ifName}: Owner, attempt = 0): string {
  const salt = attempt === 0 ? '' : ` ${attempt}`;
  return `veth${shortHash(`${network} ${containerId} ${ifName}${salt}`, 8)}`;
}

/** A name for the host end, and the link of this owner that has it already, if any. */
export interface PortName {
  readonly name: string;
  readonly left: Link | undefined;
}

/** The first name that nobody else has. */
export async function findPortName(host: Host, owner: Owner): Promise<PortName> {
  for (let attempt = 0; attempt < nameAttempts; attempt++) {
    const name = hostVethName(owner, attempt);
    const left = await findLink(host.rt, {name});
    if (!left || isOwnPort(left, owner)) return {name, left};
  }
  throw new Error(
    `failed to make veth pair: other links have the names ${hostVethName(owner)} and its substitutes`,
  );
}

/** Makes the veth pair: the container's end is still down, the host's end is up and in the bridge. */
export async function addPort(
  host: Host,
  sandbox: Sandbox,
  {bridge, conf, name, left}: {readonly bridge: Link; readonly conf: BridgeConf} & PortName,
): Promise<Port> {
  const {ifName} = conf.owner;
  if (left) await removeLeft(host, sandbox, {ifName, left});
  try {
    const [, , port, container] = await addVeth(host, sandbox, {bridge, conf, name});
    ignoreRouterAdvertisements(host, name);
    await setUpPort(host, port, conf);
    return {host: port, container};
  } catch (error) {
    if (isExists(error) && (await findLink(sandbox.rt, {name: ifName})))
      throw existsInContainer(ifName, name);
    // The name was free: what has it now is ours, tagged or not, unless it was taken in the meantime.
    if (!isExists(error)) await removeLink(host.rt, {name}).catch(() => {});
    const what = isFull(error) ? `bridge "${bridge.name}" is full: ${aboutPorts}` : '';
    throw new Error(what || `failed to make veth pair "${name}" of bridge "${bridge.name}"`, {cause: error});
  }
}

/**
 * The pair, the tag that says whose it is, and a look at both ends: one datagram, so that nobody who kills us can
 * leave a pair without a tag.
 */
function addVeth(
  host: Host,
  sandbox: Sandbox,
  {bridge, conf, name}: {readonly bridge: Link; readonly conf: BridgeConf; readonly name: string},
) {
  const {mtu, owner} = conf;
  // Addresses are set, not left to the kernel: udev changes those that nobody chose.
  const peer = {name: owner.ifName, mac: conf.mac ?? randomMac(), mtu, netnsFd: sandbox.netns.fd};
  const info = {kind: 'veth', data: {peer}} as const;
  const added = addLink(host.rt, {name, mac: randomMac(), mtu, up: true, master: bridge.ifindex, info});
  const tagged = setLink(host.rt, {name}, {alias: ownerTag(owner, aliasBytes)});
  const port = getLink(host.rt, {name});
  const container = added.then(() => getLink(sandbox.rt, {name: owner.ifName}));
  return inOrder([added, tagged, port, container] as const);
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

async function setUpPort(host: Host, port: Link, conf: BridgeConf): Promise<void> {
  if (conf.hairpinMode || conf.portIsolation) {
    const hairpin = conf.hairpinMode || undefined;
    await setBridgePort(host.rt, port, {hairpin, isolated: conf.portIsolation || undefined});
  }
  await setPortVlans(host.rt, port, conf);
}

/** The host end needs no address; errors mean that there is no IPv6. */
function ignoreRouterAdvertisements(host: Host, name: string): void {
  try {
    host.sysctl.write(`net/ipv6/conf/${name}/accept_ra`, '0');
  } catch {}
}

/** Removes the host end of an attachment's veth pair, found by its name alone; tells whether it was there. */
export async function removePort(host: Host, owner: Owner): Promise<boolean> {
  const {left} = await findPortName(host, owner);
  return left ? removeLink(host.rt, {ifindex: left.ifindex}) : false;
}

/** By its tag: a name of eight digits could be anybody's. */
function isOwnPort(link: Link, owner: Owner): boolean {
  return link.info?.kind === 'veth' && isOwnTag(link.alias, owner);
}
