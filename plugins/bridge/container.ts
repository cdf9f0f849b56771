import {setTimeout as sleep} from 'node:timers/promises';
import {allDone} from '../../lib/cni/every.ts';
import type {Route} from '../../lib/cni/types.ts';
import type {Sandbox} from '../../lib/host.ts';
import {familyOf, formatIp} from '../../lib/ip/address.ts';
import {formatCidr, subnetOf} from '../../lib/ip/cidr.ts';
import {addAddress, listAddresses} from '../../lib/netlink/route/address.ts';
import type {Link} from '../../lib/netlink/route/link.ts';
import {getLink, setLink} from '../../lib/netlink/route/link.ts';
import {addRoute, routeScope} from '../../lib/netlink/route/route.ts';
import {isSysctlReadOnly, sysctl} from '../../lib/netns/sysctl.ts';
import {gatewayOf} from './gateway.ts';
import type {GatewayPlan} from './gateway.ts';

export interface ContainerPlan extends Pick<GatewayPlan, 'ips' | 'routes'> {
  /** Whether IPv6 addresses are tested for duplicates before they are used. */
  readonly enabledad: boolean;
}

/** Gives the container's interface its addresses and routes and brings it up. */
export async function configureContainer(sandbox: Sandbox, link: Link, plan: ContainerPlan): Promise<void> {
  setSysctls(sandbox, link.name, plan);
  const {ifindex} = link;
  const {ips, enabledad} = plan;
  // One datagram: the kernel works on these in order.
  await allDone([
    ...ips.map(({address}) =>
      addAddress(sandbox.rt, {...address, ifindex, noDad: !enabledad && familyOf(address.ip) === 6}).catch(
        failed(`failed to add IP addr ${formatCidr(address)} to "${link.name}"`),
      ),
    ),
    setLink(sandbox.rt, {ifindex}, {up: true}).catch(failed(`failed to set "${link.name}" UP`)),
  ]);
  const hasGateway = ips.some(({gateway}) => gateway && familyOf(gateway) === 6);
  if (enabledad && hasGateway) await settleAddresses(sandbox, link);
  await allDone(distinct(plan.routes).map((route) => addOne(sandbox, link, route, plan)));
}

function addOne(sandbox: Sandbox, link: Link, route: Route, {ips}: ContainerPlan): Promise<void> {
  const gateway = gatewayOf(route, ips);
  const {mtu, advmss, priority, table} = route;
  // IPv4 takes a route without gateway for one to neighbours only if its scope says so.
  const scope = route.scope ?? (gateway || familyOf(route.dst.ip) === 6 ? undefined : routeScope.link);
  const spec = {
    dst: subnetOf(route.dst),
    gateway,
    ifindex: link.ifindex,
    mtu,
    advmss,
    priority,
    table,
    scope,
  };
  const text = `${formatCidr(route.dst)} via ${gateway ? formatIp(gateway) : '<nil>'} dev ${link.name}`;
  return addRoute(sandbox.rt, spec, {mode: 'prepend'}).catch(failed(`failed to add route '${text}'`));
}

/**
 * Tells the neighbours whose addresses these are now: those who remember the container that had them before would
 * send to nobody for up to a minute. The kernel does it with `arp_notify` and `ndisc_notify` when the link comes up, but
 * the bridge drops what comes before its port forwards; and again when the hardware address is set, to whatever it is.
 */
export async function announce(sandbox: Sandbox, {ifindex, mac}: Link): Promise<void> {
  await setLink(sandbox.rt, {ifindex}, {mac});
}

/** IPAM and isDefaultGateway may name the same route; the kernel refuses the second. */
function distinct(routes: readonly Route[]): readonly Route[] {
  const key = ({dst, gw, priority, table}: Route) =>
    [formatCidr(subnetOf(dst)), gw && formatIp(gw), priority, table].join(' ');
  return [...new Map(routes.map((route) => [key(route), route])).values()];
}

/** All in one stay in the container's namespace. */
function setSysctls({netns}: Sandbox, name: string, {ips, enabledad}: ContainerPlan): void {
  const hasIpv6 = ips.some(({address}) => familyOf(address.ip) === 6);
  netns.run(() => {
    attempt(() => sysctl.write(`net/ipv4/conf/${name}/arp_notify`, '1'));
    attempt(() => sysctl.write(`net/ipv6/conf/${name}/ndisc_notify`, '1'));
    const dad = enabledad ? {enhanced_dad: '1', accept_dad: '1'} : {accept_dad: '0'};
    for (const [key, value] of Object.entries(dad)) {
      attempt(() => sysctl.write(`net/ipv6/conf/${name}/${key}`, value));
    }
    if (!hasIpv6) return;
    for (const each of ['lo', name]) {
      try {
        sysctl.ensure(`net/ipv6/conf/${each}/disable_ipv6`, '0');
      } catch (cause) {
        throw new Error(
          `failed to enable IPv6 on "${each}", which has IPv6 addresses to get: is the kernel booted without IPv6, or "mtu" below 1280?`,
          {cause},
        );
      }
    }
    try {
      sysctl.write(`net/ipv6/conf/${name}/keep_addr_on_down`, '1');
    } catch (error) {
      // Addresses that go when somebody takes the link down are better than none.
      if (!isSysctlReadOnly(error)) throw error;
    }
  });
}

/** Best effort: a kernel without IPv6 has not got these, and a container may forbid them. */
function attempt(step: () => void): void {
  try {
    step();
  } catch {}
}

const settleMs = 5000;
const pollMs = 50;

/** Waits until no address is being tested for duplicates; the time for that is in the kernel's hands. */
async function settleAddresses(sandbox: Sandbox, {ifindex, name}: Link): Promise<void> {
  for (const deadline = Date.now() + settleMs; ;) {
    const addresses = await listAddresses(sandbox.rt, {ifindex, family: 6});
    const failedOne = addresses.find(({dadFailed}) => dadFailed);
    if (failedOne) {
      throw new Error(
        `link ${name} has address ${formatIp(failedOne.ip)} in DADFAILED state: somebody else on the network has it`,
      );
    }
    if (!addresses.some(({tentative}) => tentative)) return;
    if (Date.now() > deadline) {
      const {operstate} = await getLink(sandbox.rt, {ifindex});
      if (operstate !== 'up') return;
      throw new Error(`link ${name} still has tentative addresses after ${settleMs} ms`);
    }
    await sleep(pollMs);
  }
}

function failed(what: string): (cause: unknown) => never {
  return (cause) => {
    throw new Error(what, {cause});
  };
}
