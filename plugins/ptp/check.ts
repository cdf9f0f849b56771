import {addressesOf, checkAddresses, checkMac, checkRoutes, findHostEnd} from '../../lib/attach/check.ts';
import {checkForwarding} from '../../lib/attach/forwarding.ts';
import {openSandbox} from '../../lib/attach/sandbox.ts';
import {everyStep} from '../../lib/cni/every.ts';
import type {Call} from '../../lib/cni/plugin.ts';
import {findPrevResult} from '../../lib/cni/result.ts';
import type {IpConfig, Result} from '../../lib/cni/types.ts';
import type {Host, Sandbox} from '../../lib/host.ts';
import {familyOf, formatIp} from '../../lib/ip/address.ts';
import {formatCidr, sameCidr} from '../../lib/ip/cidr.ts';
import {checkMasquerade} from '../../lib/nat/masquerade.ts';
import {listAddresses} from '../../lib/netlink/route/address.ts';
import {findLink} from '../../lib/netlink/route/link.ts';
import type {Link} from '../../lib/netlink/route/link.ts';
import {listRoutes} from '../../lib/netlink/route/route.ts';
import {parsePtpConf} from './conf.ts';
import type {PtpConf} from './conf.ts';
import {isRoute, planLink} from './plan.ts';
import type {LinkPlan} from './plan.ts';

/** Compares what an ADD made with what is there; throws everything that is missing or different. */
export async function check(call: Call, host: Host): Promise<void> {
  const conf = parsePtpConf(call);
  using sandbox = openSandbox(call, host);
  if (conf.ipamType !== undefined) await call.delegate(conf.ipamType, 'CHECK');
  const previous = findPrevResult(call);
  if (!previous) throw new Error('ptp: Required prevResult missing');
  const container = await checkContainer(call, sandbox, previous);
  const end = await findHostEnd(host, container, previous);
  if (!end.up) throw new Error(`host interface "${end.name}" is down; ip link set ${end.name} up`);
  const ips = addressesOf(previous, container.name);
  const plan = planLink(ips);
  await everyStep([
    () => checkAddresses(sandbox, container, ips),
    () => checkRoutes(sandbox, previous),
    () => checkLinkRoutes(sandbox, container, plan),
    () => checkHostEnd(host, end, plan),
    () =>
      checkForwarding(
        host,
        ips.map(({address}) => familyOf(address.ip)),
      ),
    () => checkNat(call, host, {conf, ips}),
  ]);
}

async function checkContainer(call: Call, sandbox: Sandbox, previous: Result): Promise<Link> {
  const {ifName, netns} = call;
  const entry = previous.interfaces.find((each) => each.name === ifName && each.sandbox);
  if (entry?.sandbox !== netns) {
    throw new Error(`Sandbox in prevResult ${entry?.sandbox ?? ''} doesn't match configured netns: ${netns}`);
  }
  const link = await findLink(sandbox.rt, {name: ifName});
  if (!link) throw new Error(`ptp: Container Interface name in prevResult: ${ifName} not found`);
  if (link.info?.kind !== 'veth') {
    throw new Error(`Error: Container interface ${ifName} not of type veth/p2p`);
  }
  checkMac(entry, link);
  if (!link.up) throw new Error(`Interface "${ifName}" is down in the container`);
  return link;
}

/** In any table: a plugin behind us in the chain may have moved them, as sbr does. */
async function checkLinkRoutes({rt}: Sandbox, {ifindex, name}: Link, plan: LinkPlan): Promise<void> {
  const present = await listRoutes(rt, {table: 0, ifindex});
  for (const way of [...plan.gateways, ...plan.subnets]) {
    if (present.some((route) => isRoute(route, way))) continue;
    const via = way.gateway ? ` via ${formatIp(way.gateway)}` : '';
    throw new Error(`Expected Route ${formatCidr(way.dst)}${via} dev ${name} not found in routing table`);
  }
}

async function checkHostEnd(host: Host, {ifindex, name}: Link, plan: LinkPlan): Promise<void> {
  const [addresses, routes] = await Promise.all([
    listAddresses(host.rt, {ifindex}),
    listRoutes(host.rt, {ifindex}),
  ]);
  for (const cidr of plan.hostAddresses) {
    if (addresses.some((present) => sameCidr(present, cidr))) continue;
    const text = formatCidr(cidr);
    throw new Error(`gateway address ${text} is missing; ip addr add ${text} dev ${name}`);
  }
  for (const way of plan.hostRoutes) {
    if (routes.some((route) => isRoute(route, way))) continue;
    const text = formatCidr(way.dst);
    throw new Error(`the host has no route to ${text} by "${name}"; ip route replace ${text} dev ${name}`);
  }
}

async function checkNat(
  call: Call,
  host: Host,
  {conf, ips}: {readonly conf: PtpConf; readonly ips: readonly IpConfig[]},
): Promise<void> {
  if (!conf.ipMasq || conf.ipamType === undefined) return;
  const {owner, exemptDestinations} = conf;
  const wanted = {owner, ips: ips.map(({address}) => address), exemptDestinations};
  const missing = await checkMasquerade(host, wanted, {env: call.env, backend: conf.ipMasqBackend});
  if (missing.length > 0) throw new Error(missing.join('; '));
}
