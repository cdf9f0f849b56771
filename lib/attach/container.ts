import {allDone} from '../cni/every.ts';
import type {IpConfig} from '../cni/types.ts';
import type {Sandbox} from '../host.ts';
import {familyOf} from '../ip/address.ts';
import {formatCidr} from '../ip/cidr.ts';
import {addAddress} from '../netlink/route/address.ts';
import {setLink} from '../netlink/route/link.ts';
import type {Link} from '../netlink/route/link.ts';
import {isSysctlReadOnly} from '../netns/sysctl.ts';
import {settleAddresses} from './settle.ts';

export interface ContainerAddresses {
  readonly ips: readonly IpConfig[];
  /** Whether IPv6 addresses are tested for duplicates before they are used. */
  readonly enabledad: boolean;
}

/**
 * Brings the container's interface up. The sooner the better: the kernel lets the host's end carry traffic in a thread of its
 * own, beside what else there is to do.
 */
export async function bringUp(
  sandbox: Sandbox,
  link: Link,
  {enabledad}: Pick<ContainerAddresses, 'enabledad'>,
): Promise<void> {
  setDuplicateDetection(sandbox, link, enabledad);
  const {ifindex} = link;
  await allDone([
    // Before the link is up. Only a link without IPv4 refuses it.
    setLink(sandbox.rt, {ifindex}, {ipv4: {arpNotify: 1}}).catch(() => {}),
    setLink(sandbox.rt, {ifindex}, {up: true}).catch(failed(`failed to set "${link.name}" UP`)),
  ]);
}

/** Gives the container's interface its addresses. */
export async function addAddresses(
  sandbox: Sandbox,
  link: Link,
  {ips, enabledad}: ContainerAddresses,
): Promise<void> {
  if (ips.some(({address}) => familyOf(address.ip) === 6)) setIpv6(sandbox, link);
  const {ifindex} = link;
  await allDone(
    ips.map(({address}) =>
      addAddress(sandbox.rt, {...address, ifindex, noDad: !enabledad && familyOf(address.ip) === 6}).catch(
        failed(`failed to add IP addr ${formatCidr(address)} to "${link.name}"`),
      ),
    ),
  );
  const hasGateway = ips.some(({gateway}) => gateway && familyOf(gateway) === 6);
  if (enabledad && hasGateway) await settleAddresses(sandbox, link);
}

/**
 * Tells the neighbours whose addresses these are now: those who remember the container that had them before would
 * send to nobody for up to a minute. The kernel does it with `arp_notify` and `ndisc_notify` when the link comes up, but
 * a bridge drops what comes before its port forwards; and again when the hardware address is set, to whatever it is.
 */
export async function announce(sandbox: Sandbox, {ifindex, mac}: Link): Promise<void> {
  await setLink(sandbox.rt, {ifindex}, {mac});
}

/** What only files change; what the link said it has is not written. */
function setDuplicateDetection(sandbox: Sandbox, {name, ipv6}: Link, enabledad: boolean): void {
  const wanted = enabledad ? {enhanced_dad: 1, accept_dad: 1} : {accept_dad: 0};
  const present: Readonly<Record<string, number | undefined>> = {
    enhanced_dad: ipv6?.enhancedDad,
    accept_dad: ipv6?.acceptDad,
  };
  const missing = Object.entries(wanted).filter(([key, value]) => present[key] !== value);
  if (missing.length === 0) return;
  sandbox.inside((sysctl) => {
    for (const [key, value] of missing)
      attempt(() => sysctl.write(`net/ipv6/conf/${name}/${key}`, `${value}`));
  });
}

/** As `setDuplicateDetection`, what only an interface with IPv6 addresses of the network needs; all in one stay in the container's namespace. */
function setIpv6(sandbox: Sandbox, {name, ipv6}: Link): void {
  sandbox.inside((sysctl) => {
    const set = (key: string, present: number | undefined, value: number) => {
      if (present !== value) sysctl.write(`net/ipv6/conf/${name}/${key}`, `${value}`);
    };
    attempt(() => set('ndisc_notify', ipv6?.ndiscNotify, 1));
    for (const each of ipv6?.disableIpv6 === 0 ? ['lo'] : ['lo', name]) {
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
      set('keep_addr_on_down', ipv6?.keepAddrOnDown, 1);
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
