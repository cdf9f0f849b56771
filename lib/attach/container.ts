import {allDone} from '../cni/every.ts';
import type {IpConfig} from '../cni/types.ts';
import type {Sandbox} from '../host.ts';
import {familyOf} from '../ip/address.ts';
import {formatCidr} from '../ip/cidr.ts';
import {addAddress} from '../netlink/route/address.ts';
import {setLink} from '../netlink/route/link.ts';
import type {Link} from '../netlink/route/link.ts';
import {isSysctlReadOnly, sysctl} from '../netns/sysctl.ts';
import {settleAddresses} from './settle.ts';

export interface ContainerAddresses {
  readonly ips: readonly IpConfig[];
  /** Whether IPv6 addresses are tested for duplicates before they are used. */
  readonly enabledad: boolean;
}

/** Gives the container's interface its addresses and brings it up. */
export async function addAddresses(
  sandbox: Sandbox,
  link: Link,
  {ips, enabledad}: ContainerAddresses,
): Promise<void> {
  setSysctls(sandbox, link.name, {ips, enabledad});
  const {ifindex} = link;
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
}

/**
 * Tells the neighbours whose addresses these are now: those who remember the container that had them before would
 * send to nobody for up to a minute. The kernel does it with `arp_notify` and `ndisc_notify` when the link comes up, but
 * a bridge drops what comes before its port forwards; and again when the hardware address is set, to whatever it is.
 */
export async function announce(sandbox: Sandbox, {ifindex, mac}: Link): Promise<void> {
  // Waited for: whoever comes next in the chain may set another address.
  await setLink(sandbox.rt, {ifindex}, {mac});
}

/** All in one stay in the container's namespace. */
function setSysctls({netns}: Sandbox, name: string, {ips, enabledad}: ContainerAddresses): void {
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

function failed(what: string): (cause: unknown) => never {
  return (cause) => {
    throw new Error(what, {cause});
  };
}
