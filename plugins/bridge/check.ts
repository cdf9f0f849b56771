import {addressesOf, checkAddresses, checkMac, checkRoutes, findHostEnd} from '../../lib/attach/check.ts';
import {everyStep} from '../../lib/cni/every.ts';
import type {Call} from '../../lib/cni/plugin.ts';
import {findPrevResult} from '../../lib/cni/result.ts';
import type {IpConfig, Result} from '../../lib/cni/types.ts';
import type {Host, Sandbox} from '../../lib/host.ts';
import {checkMasquerade} from '../../lib/nat/masquerade.ts';
import {listBridgeVlans} from '../../lib/netlink/route/bridge-vlan.ts';
import {findLink} from '../../lib/netlink/route/link.ts';
import type {Link} from '../../lib/netlink/route/link.ts';
import {checkGateway} from './check-gateway.ts';
import {parseBridgeConf} from './conf.ts';
import type {BridgeConf} from './conf.ts';
import {checkMacSpoofCheck} from './macspoof.ts';
import {planPortVlans} from './port-vlan.ts';

/** Compares what an ADD made with what is there; throws everything that is missing or different. */
export async function check(call: Call, host: Host): Promise<void> {
  const conf = parseBridgeConf(call);
  const previous = findPrevResult(call);
  if (!previous) throw new Error('Required prevResult missing');
  using sandbox = host.sandbox(call.netns);
  if (conf.ipamType !== undefined) await call.delegate(conf.ipamType, 'CHECK');
  const bridge = await checkBridge(host, conf, previous);
  const container = await checkContainer(call, sandbox, conf, previous);
  const port = await checkPort(host, {bridge, container, previous});
  const ips = addressesOf(previous, container.name);
  await everyStep([
    () => checkPortSettings(host, port, conf),
    () => checkAddresses(sandbox, container, ips),
    () => checkRoutes(sandbox, previous),
    () => (conf.isGateway && ips.length > 0 ? checkGateway(host, {conf, bridge, previous, ips}) : undefined),
    () => checkFilters(call, host, {conf, ips, port, container}),
  ]);
}

/** Not its hardware address, unless it is a gateway: that of a bridge that somebody else made may follow its ports. */
async function checkBridge(host: Host, conf: BridgeConf, previous: Result): Promise<Link> {
  const entry = previous.interfaces.find(({name, sandbox}) => name === conf.bridge && !sandbox);
  if (!entry) throw new Error(`prevResult names no bridge "${conf.bridge}"`);
  const bridge = await findLink(host.rt, {name: conf.bridge});
  if (!bridge)
    throw new Error(`bridge "${conf.bridge}" is gone; every container on it has to be attached again`);
  if (bridge.info?.kind !== 'bridge') throw new Error(`Interface "${conf.bridge}" is not a bridge`);
  if (!bridge.up) throw new Error(`bridge "${conf.bridge}" is down; ip link set ${conf.bridge} up`);
  if (bridge.promisc !== conf.promiscMode) {
    throw new Error(
      `Bridge interface "${conf.bridge}": promiscMode is ${conf.promiscMode}, the link says ${bridge.promisc}`,
    );
  }
  return bridge;
}

async function checkContainer(
  call: Call,
  sandbox: Sandbox,
  conf: BridgeConf,
  previous: Result,
): Promise<Link> {
  const entry = previous.interfaces.find((each) => each.name === call.ifName && each.sandbox);
  if (!entry) throw new Error(`prevResult names no interface "${call.ifName}" of a container`);
  if (entry.sandbox !== call.netns) {
    throw new Error(`Sandbox in prevResult ${entry.sandbox} doesn't match configured netns: ${call.netns}`);
  }
  const link = await findLink(sandbox.rt, {name: call.ifName});
  if (!link) throw new Error(`Interface "${call.ifName}" is gone from the container`);
  if (link.info?.kind !== 'veth') throw new Error(`Container interface "${call.ifName}" is not a veth`);
  checkMac(entry, link);
  if (!link.up && !conf.disableContainerInterface) {
    throw new Error(`Interface "${call.ifName}" is down in the container`);
  }
  return link;
}

/** The host end: the other end of the container's link, in the bridge, under a name of the result. */
async function checkPort(
  host: Host,
  {bridge, container, previous}: {bridge: Link; container: Link; previous: Result},
): Promise<Link> {
  const port = await findHostEnd(host, container, previous, {not: bridge.name});
  if (port.master !== bridge.ifindex) {
    throw new Error(
      `host interface "${port.name}" is not a port of bridge "${bridge.name}"; ip link set ${port.name} master ${bridge.name}`,
    );
  }
  if (!port.up) throw new Error(`host interface "${port.name}" is down; ip link set ${port.name} up`);
  return port;
}

async function checkPortSettings(host: Host, port: Link, conf: BridgeConf): Promise<void> {
  const {hairpin = false, isolated = false} = port.port?.bridgePort ?? {};
  if (hairpin !== conf.hairpinMode) {
    throw new Error(`hairpin of "${port.name}" is ${hairpin}, hairpinMode is ${conf.hairpinMode}`);
  }
  if (isolated !== conf.portIsolation) {
    throw new Error(`isolation of "${port.name}" is ${isolated}, portIsolation is ${conf.portIsolation}`);
  }
  const wanted = planPortVlans(conf);
  if (wanted.length === 0) return;
  const present = (await listBridgeVlans(host.rt)).get(port.ifindex) ?? [];
  for (const {first, last, pvid = false} of wanted) {
    const found = present.some(
      (range) => range.first <= first && range.last >= last && (range.pvid ?? false) === pvid,
    );
    const text = first === last ? `${first}` : `${first}-${last}`;
    if (!found) throw new Error(`VLAN ${text} is missing on "${port.name}"`);
  }
}

async function checkFilters(
  call: Call,
  host: Host,
  {conf, ips, port, container}: {conf: BridgeConf; ips: readonly IpConfig[]; port: Link; container: Link},
): Promise<void> {
  await everyStep([
    async () => {
      if (!conf.ipMasq || conf.ipamType === undefined) return;
      const {owner, exemptDestinations} = conf;
      const wanted = {owner, ips: ips.map(({address}) => address), exemptDestinations};
      const missing = await checkMasquerade(host, wanted, {env: call.env, backend: conf.ipMasqBackend});
      if (missing.length > 0) throw new Error(missing.join('; '));
    },
    async () => {
      if (!conf.macspoofchk) return;
      await checkMacSpoofCheck(host, conf.owner, {hostVeth: port.name, mac: container.mac});
    },
  ]);
}
