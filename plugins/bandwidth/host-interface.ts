import type {Result} from '../../lib/cni/types.ts';
import type {Host, Sandbox} from '../../lib/host.ts';
import {findLink, type Link} from '../../lib/netlink/route/link.ts';

/**
 * The host's end of the container's veth pair, which the previous result has to name. Throws the reference's
 * sentences.
 */
export async function getHostInterface(
  host: Host,
  sandbox: Sandbox,
  {ifName, previous}: {readonly ifName: string; readonly previous: Result},
): Promise<Link> {
  if (previous.interfaces.length === 0) throw new Error('no interfaces provided');
  const container = await findLink(sandbox.rt, {name: ifName});
  if (!container) throw new Error(`container interface ${ifName} has no veth peer: it is not there`);
  if (container.info?.kind !== 'veth' || container.link === undefined) {
    const kind =
      container.info?.kind === 'other' ? container.info.name : (container.info?.kind ?? 'a device');
    throw new Error(
      `container interface ${ifName} has no veth peer: it is ${kind}; limits work behind bridge, ptp and other plugins that make veth pairs`,
    );
  }
  const port = await findLink(host.rt, {ifindex: container.link});
  // The same number may be another link's here, if the peer is in a third namespace.
  if (port?.info?.kind !== 'veth' || port.link !== container.ifindex) {
    throw new Error(`veth peer with index ${container.link} is not in host ns`);
  }
  const isNamed = previous.interfaces.some(({name, sandbox: inside}) => !inside && name === port.name);
  if (isNamed) return port;
  throw new Error(
    `no veth peer of container interface found in host ns: "${port.name}" is not among the interfaces of prevResult`,
  );
}
