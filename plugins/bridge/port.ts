import type {Host, Sandbox} from '../../lib/host.ts';
import {addVeth} from '../../lib/attach/veth.ts';
import type {VethPair} from '../../lib/attach/veth.ts';
import type {VethName} from '../../lib/attach/veth-name.ts';
import {NetlinkError, isFull} from '../../lib/netlink/error.ts';
import {setBridgePort} from '../../lib/netlink/route/bridge-port.ts';
import type {Link} from '../../lib/netlink/route/link.ts';
import {mostPorts} from './bridge.ts';
import type {BridgeConf} from './conf.ts';
import {setPortVlans} from './port-vlan.ts';

const aboutPorts = `the kernel allows ${mostPorts} ports; put further networks on bridges of their own`;

/** Makes the veth pair with the host's end in the bridge. */
export async function addPort(
  host: Host,
  sandbox: Sandbox,
  {bridge, conf, name}: {readonly bridge: Link; readonly conf: BridgeConf; readonly name: VethName},
): Promise<VethPair> {
  const {owner, mac, mtu} = conf;
  try {
    return await addVeth(host, sandbox, {...name, owner, mac, mtu, master: bridge.ifindex});
  } catch (error) {
    if (!(error instanceof NetlinkError)) throw error;
    const what = isFull(error) ? `bridge "${bridge.name}" is full: ${aboutPorts}` : '';
    throw new Error(what || failedToMake(name.name, bridge), {cause: error});
  }
}

/** Hairpin, isolation and VLANs of the port. */
export async function setUpPort(
  host: Host,
  port: Link,
  {bridge, conf}: {readonly bridge: Link; readonly conf: BridgeConf},
): Promise<void> {
  try {
    if (conf.hairpinMode || conf.portIsolation) {
      const hairpin = conf.hairpinMode || undefined;
      await setBridgePort(host.rt, port, {hairpin, isolated: conf.portIsolation || undefined});
    }
    await setPortVlans(host.rt, port, conf);
  } catch (cause) {
    throw new Error(failedToMake(port.name, bridge), {cause});
  }
}

function failedToMake(name: string, bridge: Link): string {
  return `failed to make veth pair "${name}" of bridge "${bridge.name}"`;
}
