import {waitForCarrier} from '../../lib/attach/carrier.ts';
import {addAddresses, announce, bringUp} from '../../lib/attach/container.ts';
import {ensureForwarding} from '../../lib/attach/forwarding.ts';
import {addRoutes} from '../../lib/attach/routes.ts';
import {openSandbox} from '../../lib/attach/sandbox.ts';
import {findVethName} from '../../lib/attach/veth-name.ts';
import {removeVeth} from '../../lib/attach/veth-removal.ts';
import type {VethPair} from '../../lib/attach/veth.ts';
import {allDone} from '../../lib/cni/every.ts';
import type {Call} from '../../lib/cni/plugin.ts';
import {Undo} from '../../lib/cni/undo.ts';
import type {Interface, IpConfig, Result} from '../../lib/cni/types.ts';
import type {Host, Sandbox} from '../../lib/host.ts';
import {familyOf} from '../../lib/ip/address.ts';
import {ensureMasquerade, removeMasquerade} from '../../lib/nat/masquerade.ts';
import {getLink, setLink} from '../../lib/netlink/route/link.ts';
import type {Link} from '../../lib/netlink/route/link.ts';
import {ensureBridge} from './bridge.ts';
import type {BridgeConf} from './conf.ts';
import {parseBridgeConf} from './conf.ts';
import {ensureGatewayAddresses} from './gateway-address.ts';
import {ensureVlanGateway} from './gateway-vlan.ts';
import {planGateways} from './gateway.ts';
import {ensureMacSpoofCheck, removeMacSpoofCheck} from './macspoof.ts';
import {addPort, setUpPort} from './port.ts';

/** What an ADD has at hand; the undo of every step that succeeded is on `undo`. */
interface Attaching {
  readonly call: Call;
  readonly host: Host;
  readonly conf: BridgeConf;
  readonly sandbox: Sandbox;
  readonly bridge: Link;
  readonly port: VethPair;
  readonly undo: Undo;
}

/** Addresses and routes of the result, and the links it names beside the usual three. */
interface Layer3 extends Pick<Result, 'ips' | 'routes' | 'dns'> {
  readonly more: readonly Interface[];
}

const layer2: Layer3 = {ips: [], routes: [], dns: {}, more: []};

/** Attaches the container to the bridge. A failure at any step takes back the steps before it. */
export async function add(call: Call, host: Host): Promise<Result> {
  const conf = parseBridgeConf(call);
  const [bridge, name] = await Promise.all([ensureBridge(host, conf), findVethName(host, conf.owner)]);
  using sandbox = openSandbox(call, host);
  await using undo = new Undo(call);
  const port = await addPort(host, sandbox, {bridge, conf, name});
  undo.add('remove the veth pair', () => removeVeth(host, conf.owner));
  await setUpPort(host, port.host, {bridge, conf});
  if (conf.macspoofchk) {
    undo.add('remove the source address filter', () => removeMacSpoofCheck(host, conf.owner));
    await ensureMacSpoofCheck(host, conf.owner, {hostVeth: port.host.name, mac: port.container.mac});
  }
  const attaching = {call, host, conf, sandbox, bridge, port, undo};
  const layer3 = conf.ipamType === undefined ? await connect(attaching) : await address(attaching);
  const [hostLink, {mac}] = await Promise.all([
    conf.disableContainerInterface ? port.host : waitForCarrier(host, port.host, 'bridge port'),
    // A bridge that somebody else made may have taken the port's address.
    getLink(host.rt, {ifindex: bridge.ifindex}),
  ]);
  // Waited for: whoever comes next in the chain may set another hardware address.
  if (layer3.ips.length > 0) await announce(sandbox, port.container);
  undo.commit();
  return {
    interfaces: [
      {name: bridge.name, mac},
      {name: hostLink.name, mac: hostLink.mac},
      {name: call.ifName, mac: port.container.mac, sandbox: call.netns},
      ...layer3.more,
    ],
    ips: layer3.ips,
    routes: layer3.routes,
    dns: conf.dns ?? layer3.dns,
  };
}

async function connect({conf, sandbox, port}: Attaching): Promise<Layer3> {
  if (!conf.disableContainerInterface) {
    await setLink(sandbox.rt, {ifindex: port.container.ifindex}, {up: true});
  }
  return layer2;
}

async function address(attaching: Attaching): Promise<Layer3> {
  const {call, host, conf, sandbox, port, undo} = attaching;
  await bringUp(sandbox, port.container, conf);
  const ipam = await call.delegate(conf.ipamType!, 'ADD');
  undo.add('release the addresses', () => call.delegate(conf.ipamType!, 'DEL'));
  if (!ipam || ipam.ips.length === 0) {
    throw new Error(`IPAM plugin returned missing IP config (type "${conf.ipamType}")`);
  }
  const plan = planGateways(ipam, conf);
  // The third of the interfaces is the container's.
  const ips: readonly IpConfig[] = plan.ips.map((ip) => ({...ip, interface: 2}));
  const addressed = addAddresses(sandbox, port.container, {ips, enabledad: conf.enabledad});
  // In the same datagram, unless the addresses have to be tested before they can be used.
  if (conf.enabledad) await addressed;
  await allDone([addressed, addRoutes(sandbox, port.container, {ips, routes: plan.routes})]);
  const more = conf.isGateway ? await becomeGateway(attaching, plan.gateways) : [];
  if (conf.ipMasq) {
    undo.add('remove the masquerade', () =>
      removeMasquerade(host, conf.owner, {env: call.env, ips: addressesOf(ips)}),
    );
    const wanted = {owner: conf.owner, ips: addressesOf(ips), exemptDestinations: conf.exemptDestinations};
    await ensureMasquerade(host, wanted, {env: call.env, backend: conf.ipMasqBackend});
  }
  return {ips, routes: plan.routes, dns: ipam.dns, more};
}

async function becomeGateway(
  {host, conf, bridge}: Attaching,
  wanted: Parameters<typeof ensureGatewayAddresses>[2]['wanted'],
): Promise<readonly Interface[]> {
  const link = conf.vlan === 0 ? bridge : await ensureVlanGateway(host, bridge, conf);
  await allDone([
    ensureGatewayAddresses(host, link, {wanted, allowed: conf.rangeGateways, force: conf.forceAddress}),
    ensureForwarding(
      host,
      wanted.map(({ip}) => familyOf(ip)),
      '"isGateway"',
    ),
  ]);
  return conf.vlan === 0 ? [] : [{name: link.name, mac: link.mac}];
}

function addressesOf(ips: readonly IpConfig[]) {
  return ips.map(({address}) => address);
}
