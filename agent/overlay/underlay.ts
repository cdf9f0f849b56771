import {familyOf, formatIp, sameIp, type Family, type Ip} from '../../lib/ip/address.ts';
import {containsIp, isDefault, type Cidr} from '../../lib/ip/cidr.ts';
import type {Address} from '../../lib/netlink/route/address.ts';
import type {Link} from '../../lib/netlink/route/link.ts';
import type {Route} from '../../lib/netlink/route/route.ts';

/** How to find the network that carries the tunnel; the first that is given decides, else the default route. */
export interface UnderlayChoice {
  /** An address of the host, or a range that one of its addresses is in. */
  readonly address?: Cidr | undefined;
  readonly interface?: string | undefined;
  /** A regular expression for the whole name. */
  readonly interfacePattern?: string | undefined;
  /** The interface through which this address is reached. */
  readonly canReach?: Ip | undefined;
}

/** The interface that carries the tunnel, and the host's addresses on it. */
export interface Underlay {
  readonly ifindex: number;
  readonly name: string;
  readonly mtu: number;
  readonly up: boolean;
  /** At most one per family; at least one in all. */
  readonly addresses: readonly Ip[];
}

/** What the choice is made from. */
export interface UnderlayFacts {
  readonly links: readonly Link[];
  readonly addresses: readonly Address[];
  /** Of the main table. */
  readonly routes: readonly Route[];
  /** Through which link `canReach` is reached now. */
  readonly reachIfindex?: number | undefined;
}

// linux/if_addr.h: an address of privacy extensions changes by itself, a deprecated one is going away.
const temporary = 0x01;
const deprecated = 0x20;

/**
 * Chooses the underlay. What was chosen before stays while it is good, so that a second address or a better route moves
 * nothing. Returns a sentence instead when there is none.
 */
export function chooseUnderlay(
  facts: UnderlayFacts,
  choice: UnderlayChoice,
  before?: Underlay,
): Underlay | string {
  const link = findUnderlayLink(facts, choice);
  if (typeof link === 'string') return link;
  const usable = facts.addresses.filter((each) => each.ifindex === link.ifindex && isUsable(each));
  const addresses = ([4, 6] as const)
    .map((family) => chooseAddress(usable, family, choice, before))
    .filter((ip) => ip !== undefined);
  if (addresses.length === 0) return `${link.name} has no address that peers could reach`;
  return {ifindex: link.ifindex, name: link.name, mtu: link.mtu, up: link.up, addresses};
}

export function sameUnderlay(a: Underlay | undefined, b: Underlay | undefined): boolean {
  if (!a || !b) return a === b;
  return (
    a.ifindex === b.ifindex &&
    a.mtu === b.mtu &&
    a.up === b.up &&
    a.addresses.length === b.addresses.length &&
    a.addresses.every((ip, i) => sameIp(ip, b.addresses[i]))
  );
}

function findUnderlayLink(
  {links, addresses, routes, reachIfindex}: UnderlayFacts,
  choice: UnderlayChoice,
): Link | string {
  const byIndex = (ifindex: number | undefined) => links.find((link) => link.ifindex === ifindex);
  const {address, canReach} = choice;
  if (address !== undefined) {
    const owner = addresses.find((each) => isUsable(each) && containsIp(address, each.ip));
    return (
      byIndex(owner?.ifindex) ?? `no interface has the address ${formatIp(address.ip)}/${address.prefix}`
    );
  }
  if (choice.interface !== undefined)
    return links.find(({name}) => name === choice.interface) ?? `there is no interface ${choice.interface}`;
  if (choice.interfacePattern !== undefined) {
    const pattern = new RegExp(`^(?:${choice.interfacePattern})$`, 'u');
    const matching = links.filter(({name}) => pattern.test(name)).toSorted((a, b) => a.ifindex - b.ifindex);
    return (
      matching.find(({up}) => up) ?? matching[0] ?? `no interface's name matches ${choice.interfacePattern}`
    );
  }
  if (canReach !== undefined) return byIndex(reachIfindex) ?? `no route leads to ${formatIp(canReach)}`;
  const best = routes
    .filter((route) => isDefault(route.dst) && (route.ifindex ?? route.multipath?.[0]?.ifindex) !== undefined)
    .toSorted((a, b) => familyOf(a.dst.ip) - familyOf(b.dst.ip) || a.priority - b.priority)[0];
  return (
    byIndex(best?.ifindex ?? best?.multipath?.[0]?.ifindex) ??
    'there is no default route; name the interface in "underlay"'
  );
}

function chooseAddress(
  usable: readonly Address[],
  family: Family,
  {address: wanted}: UnderlayChoice,
  before: Underlay | undefined,
): Ip | undefined {
  const mine = usable.filter(({ip}) => familyOf(ip) === family);
  const named =
    wanted && familyOf(wanted.ip) === family ? mine.filter(({ip}) => containsIp(wanted, ip)) : mine;
  const kept = named.find(({ip}) => before?.addresses.some((each) => sameIp(each, ip)));
  const best = named.find(({flags}) => (flags & (temporary | deprecated)) === 0);
  return (kept ?? best ?? named[0])?.ip;
}

// RT_SCOPE_UNIVERSE and RT_SCOPE_SITE: what is only of the link or of the host is no address for peers.
function isUsable({scope, tentative, dadFailed}: Address): boolean {
  return scope <= 200 && !tentative && !dadFailed;
}
