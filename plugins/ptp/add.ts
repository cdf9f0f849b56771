import {waitForCarrier} from '../../lib/attach/carrier.ts';
import {addAddresses, bringUp} from '../../lib/attach/container.ts';
import {ensureForwarding} from '../../lib/attach/forwarding.ts';
import {addRoutes} from '../../lib/attach/routes.ts';
import {openSandbox} from '../../lib/attach/sandbox.ts';
import {findVethName} from '../../lib/attach/veth-name.ts';
import {removeVeth} from '../../lib/attach/veth-removal.ts';
import {addVeth} from '../../lib/attach/veth.ts';
import type {VethPair} from '../../lib/attach/veth.ts';
import {CniError, errorCodes} from '../../lib/cni/error.ts';
import {allDone} from '../../lib/cni/every.ts';
import type {Call} from '../../lib/cni/plugin.ts';
import type {IpConfig, Result} from '../../lib/cni/types.ts';
import {Undo} from '../../lib/cni/undo.ts';
import type {Host, Sandbox} from '../../lib/host.ts';
import {familyOf} from '../../lib/ip/address.ts';
import {ensureMasquerade, removeMasquerade} from '../../lib/nat/masquerade.ts';
import {NetlinkError, isExists} from '../../lib/netlink/error.ts';
import {setLink} from '../../lib/netlink/route/link.ts';
import {addRoute, removeRoute} from '../../lib/netlink/route/route.ts';
import {parsePtpConf} from './conf.ts';
import type {PtpConf} from './conf.ts';
import {setUpHost} from './host-end.ts';
import {planLink} from './plan.ts';
import type {LinkPlan} from './plan.ts';

/** What an ADD has at hand. */
interface Attaching {
  readonly call: Call;
  readonly host: Host;
  readonly sandbox: Sandbox;
  readonly conf: PtpConf;
  readonly undo: Undo;
}

type Layer3 = Pick<Result, 'ips' | 'routes' | 'dns'>;

const layer2: Layer3 = {ips: [], routes: [], dns: {}};

/** Connects the container to the host. A failure at any step takes back the steps before it. */
export async function add(call: Call, host: Host): Promise<Result> {
  const conf = parsePtpConf(call);
  using sandbox = openSandbox(call, host);
  await using undo = new Undo(call);
  const attaching: Attaching = {call, host, sandbox, conf, undo};
  const layer3 = conf.ipamType === undefined ? layer2 : await obtainAddresses(attaching, conf.ipamType);
  const plan = planLink(layer3.ips);
  const pair = await connect(attaching);
  if (layer3.ips.length > 0) {
    await setUpContainer(sandbox, pair, {plan, layer3});
    await setUpHost(call, host, pair.host, plan);
    if (conf.ipMasq) await masquerade(attaching, layer3.ips);
  } else {
    await setLink(sandbox.rt, {ifindex: pair.container.ifindex}, {up: true});
  }
  // Until then the kernel drops what either end sends.
  const end = await waitForCarrier(host, pair.host, 'host interface');
  undo.commit();
  return {
    interfaces: [
      {name: end.name, mac: end.mac},
      {name: call.ifName, mac: pair.container.mac, sandbox: call.netns},
    ],
    ips: layer3.ips,
    routes: layer3.routes,
    dns: conf.dns ?? layer3.dns,
  };
}

async function obtainAddresses({call, host, undo}: Attaching, ipamType: string): Promise<Layer3> {
  const ipam = await call.delegate(ipamType, 'ADD');
  undo.add('release the addresses', () => call.delegate(ipamType, 'DEL'));
  if (!ipam || ipam.ips.length === 0) {
    throw new CniError(
      errorCodes.internal,
      'IPAM plugin returned missing IP config',
      `its type is "${ipamType}"`,
    );
  }
  const families = ipam.ips.map(({address}) => familyOf(address.ip));
  try {
    await ensureForwarding(host, families, 'ptp');
  } catch (cause) {
    throw new Error('Could not enable IP forwarding', {cause});
  }
  // The second of the interfaces is the container's.
  return {...ipam, ips: ipam.ips.map((ip) => ({...ip, interface: 1}))};
}

async function connect({host, sandbox, conf, undo}: Attaching): Promise<VethPair> {
  const {owner, mtu} = conf;
  const name = await findVethName(host, owner);
  try {
    const pair = await addVeth(host, sandbox, {...name, owner, mac: undefined, mtu});
    undo.add('remove the veth pair', () => removeVeth(host, owner));
    return pair;
  } catch (error) {
    if (!(error instanceof NetlinkError)) throw error;
    throw new Error(`failed to make veth pair "${name.name}"`, {cause: error});
  }
}

/** Routes of IPAM come while the kernel's own are there: their gateways may be in the subnet, too. */
async function setUpContainer(
  sandbox: Sandbox,
  {container}: VethPair,
  {plan, layer3}: {readonly plan: LinkPlan; readonly layer3: Layer3},
): Promise<void> {
  const {rt} = sandbox;
  const {ifindex} = container;
  const failed = (cause: unknown) => {
    // IPAM named the same.
    if (!isExists(cause)) throw new Error(`failed to add route to "${container.name}"`, {cause});
  };
  await allDone([
    addAddresses(sandbox, container, {ips: layer3.ips, enabledad: false}),
    bringUp(sandbox, container, {enabledad: false}),
  ]);
  await allDone(plan.gateways.map((way) => addRoute(rt, {...way, ifindex}, {mode: 'prepend'}).catch(failed)));
  await addRoutes(sandbox, container, layer3);
  await allDone([
    ...plan.onLink.map((way) => removeRoute(rt, {...way, ifindex})),
    ...plan.subnets.map((way) => addRoute(rt, {...way, ifindex}, {mode: 'prepend'}).catch(failed)),
  ]);
}

async function masquerade({call, host, conf, undo}: Attaching, ips: readonly IpConfig[]): Promise<void> {
  const {owner, ipMasqBackend, exemptDestinations} = conf;
  const addresses = ips.map(({address}) => address);
  undo.add('remove the masquerade', () => removeMasquerade(host, owner, {env: call.env, ips: addresses}));
  const wanted = {owner, ips: addresses, exemptDestinations};
  await ensureMasquerade(host, wanted, {env: call.env, backend: ipMasqBackend});
}
