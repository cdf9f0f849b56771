import {isOwnTag, ownerTag, shortHash} from '../../lib/cni/owner.ts';
import type {Owner} from '../../lib/cni/owner.ts';
import type {Host, Sandbox} from '../../lib/host.ts';
import {isExists} from '../../lib/netlink/error.ts';
import {setBridgePort} from '../../lib/netlink/route/bridge-port.ts';
import {addLink, findLink, getLink, removeLink, setLink} from '../../lib/netlink/route/link.ts';
import type {Link} from '../../lib/netlink/route/link.ts';
import {randomMac} from './bridge.ts';
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

/**
 * The host end's name. It follows from the owner, so that DEL finds it without a namespace. `attempt` counts
 * names that somebody else has.
 */
export function hostVethName({network, containerId, ifName}: Owner, attempt = 0): string {
  const salt = attempt === 0 ? '' : ` ${attempt}`;
  return `veth${shortHash(`${network} ${containerId} ${ifName}${salt}`, 8)}`;
}

/** Makes the veth pair: the container's end is still down, the host's end is up and in the bridge. */
export async function addPort(
  host: Host,
  sandbox: Sandbox,
  {bridge, conf}: {readonly bridge: Link; readonly conf: BridgeConf},
): Promise<Port> {
  const name = await addVeth(host, sandbox, {bridge, conf});
  try {
    const ref = {name};
    const inHost = getLink(host.rt, ref);
    const inContainer = getLink(sandbox.rt, {name: conf.owner.ifName});
    const tagged = setLink(host.rt, ref, {alias: ownerTag(conf.owner, aliasBytes)});
    const [link, container] = await Promise.all([inHost, inContainer, tagged]);
    ignoreRouterAdvertisements(host, name);
    await setUpPort(host, link, conf);
    return {host: link, container};
  } catch (error) {
    await removeLink(host.rt, {name}).catch(() => {});
    throw new Error(`failed to connect "${name}" to bridge ${bridge.name}`, {cause: error});
  }
}

async function addVeth(
  host: Host,
  sandbox: Sandbox,
  {bridge, conf}: {readonly bridge: Link; readonly conf: BridgeConf},
): Promise<string> {
  const {ifName} = conf.owner;
  for (let attempt = 0; ; attempt++) {
    const name = hostVethName(conf.owner, attempt);
    try {
      await addLink(host.rt, {
        name,
        // Set, not left to the kernel: udev changes addresses that nobody chose.
        mac: randomMac(),
        mtu: conf.mtu,
        up: true,
        master: bridge.ifindex,
        info: {
          kind: 'veth',
          data: {
            peer: {name: ifName, mac: conf.mac ?? randomMac(), mtu: conf.mtu, netnsFd: sandbox.netns.fd},
          },
        },
      });
      return name;
    } catch (error) {
      if (!isExists(error)) throw new Error('failed to make veth pair', {cause: error});
      if (await findLink(sandbox.rt, {name: ifName})) {
        throw new Error(
          `container veth name ("${ifName}") peer provided ("${name}") already exists: ` +
            `the container has an interface "${ifName}"; DEL it first`,
        );
      }
      if (attempt === nameAttempts) throw new Error('failed to make veth pair', {cause: error});
      // Left by an ADD of this attachment in another namespace: it can have no other use.
      const left = await findLink(host.rt, {name});
      if (left && isOwnTag(left.alias, conf.owner)) {
        await removeLink(host.rt, {ifindex: left.ifindex});
        attempt--;
      }
    }
  }
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

/**
 * Removes the host end of an attachment's veth pair, found by its name alone; tells whether it was there.
 * An end without an alias is one whose ADD was interrupted.
 */
export async function removePort(host: Host, owner: Owner): Promise<boolean> {
  for (let attempt = 0; attempt < nameAttempts; attempt++) {
    const link = await findLink(host.rt, {name: hostVethName(owner, attempt)});
    if (!link) return false;
    if (link.info?.kind === 'veth' && (!link.alias || isOwnTag(link.alias, owner))) {
      return removeLink(host.rt, {ifindex: link.ifindex});
    }
  }
  return false;
}
