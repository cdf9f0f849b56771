import {familyOf, formatIp, type Family} from '../ip/address.ts';
import {containsIp, formatCidr, lastOf, type Cidr} from '../ip/cidr.ts';
import type {Member, OverlayNetwork} from './member.ts';

/** Something of a peer that cannot be: it belongs to another, or to nobody. */
export interface Conflict {
  readonly kind: 'mac' | 'underlay' | 'subnet' | 'outside' | 'endpoint' | 'unreachable';
  /** What it is about: an address, a subnet. */
  readonly value: string;
  /** The peer that goes without. */
  readonly peer: string;
  /** The host that has it instead. */
  readonly holder?: string | undefined;
}

/** "node-b claims the subnet 10.244.1.0/24, which belongs to node-a" */
export function formatConflict({kind, value, peer, holder}: Conflict): string {
  if (kind === 'outside') return `${peer} claims ${value}, which is not a part of the network`;
  if (kind === 'unreachable') return `${peer} is not reachable: ${value}`;
  const what = {mac: 'hardware address', underlay: 'address', subnet: 'subnet', endpoint: 'endpoint'}[kind];
  return `${peer} claims the ${what} ${value}, which belongs to ${holder}`;
}

/**
 * Who gets what several hosts claim: this host, then whoever was first. A peer that loses anything is left out whole: a
 * tunnel to it would lead to another host, or take another's traffic.
 */
export function settleClaims(
  network: OverlayNetwork,
  self: Member,
  peers: readonly Member[],
): {readonly peers: readonly Member[]; readonly conflicts: readonly Conflict[]} {
  const conflicts: Conflict[] = [];
  const holders = new Map<string, string>();
  const subnets = new SubnetClaims();
  claimAll(self, holders);
  for (const subnet of self.subnets) subnets.add(subnet, self.id);
  const accepted = bySeniority(peers).filter((peer) => {
    if (peer.id === self.id) return false;
    const found = findConflicts(peer, {network, holders, subnets});
    conflicts.push(...found);
    if (found.length > 0) return false;
    claimAll(peer, holders);
    for (const subnet of peer.subnets) subnets.add(subnet, peer.id);
    return true;
  });
  return {peers: accepted, conflicts};
}

function bySeniority(peers: readonly Member[]): readonly Member[] {
  const compare = (a: Member, b: Member) =>
    (a.seniority ?? Infinity) - (b.seniority ?? Infinity) || (a.id < b.id ? -1 : a.id > b.id ? 1 : 0);
  return peers.toSorted((a, b) => {
    const order = compare(a, b);
    // Infinity - Infinity
    return Number.isNaN(order) ? (a.id < b.id ? -1 : 1) : order;
  });
}

type Claim = readonly [kind: 'underlay' | 'mac', value: string];

// Members do not change, and there may be thousands that are judged at every change of one.
const claims = new WeakMap<Member, readonly Claim[]>();

function claimsOf(member: Member): readonly Claim[] {
  let found = claims.get(member);
  if (found) return found;
  const {underlay, macs} = member;
  const hardware = [...new Set([macs[4], macs[6]])].filter((mac) => mac !== undefined);
  found = [
    ...underlay.map((ip): Claim => ['underlay', formatIp(ip)]),
    ...hardware.map((mac): Claim => ['mac', mac]),
  ];
  claims.set(member, found);
  return found;
}

function claimAll(member: Member, holders: Map<string, string>): void {
  for (const [, value] of claimsOf(member)) holders.set(value, member.id);
}

function findConflicts(
  peer: Member,
  {
    network,
    holders,
    subnets,
  }: {
    readonly network: OverlayNetwork;
    readonly holders: ReadonlyMap<string, string>;
    readonly subnets: SubnetClaims;
  },
): Conflict[] {
  const found: Conflict[] = [];
  for (const [kind, value] of claimsOf(peer)) {
    const holder = holders.get(value);
    if (holder !== undefined) found.push({kind, value, peer: peer.id, holder});
  }
  for (const subnet of peer.subnets) {
    const isInside = network.ranges.some(
      (range) => containsIp(range, subnet.ip) && subnet.prefix >= range.prefix,
    );
    const holder = isInside ? subnets.find(subnet) : undefined;
    if (isInside && holder === undefined) continue;
    const kind = isInside ? 'subnet' : 'outside';
    found.push({kind, value: formatCidr(subnet), peer: peer.id, holder});
  }
  return found;
}

/** Who has which part of the network: by length of the prefix, of which there is nearly always one alone. */
class SubnetClaims {
  readonly #claims: Readonly<Record<Family, Map<number, Map<bigint, string>>>> = {
    4: new Map(),
    6: new Map(),
  };

  add({ip, prefix}: Cidr, holder: string): void {
    const byPrefix = this.#claims[familyOf(ip)];
    let claims = byPrefix.get(prefix);
    if (!claims) byPrefix.set(prefix, (claims = new Map()));
    claims.set(ip.value >> this.#hostBits(ip, prefix), holder);
  }

  /** Who has a subnet that overlaps this one. */
  find(subnet: Cidr): string | undefined {
    const {ip, prefix} = subnet;
    for (const [length, claims] of this.#claims[familyOf(ip)]) {
      if (length <= prefix) {
        const holder = claims.get(ip.value >> this.#hostBits(ip, length));
        if (holder !== undefined) return holder;
        continue;
      }
      const shift = this.#hostBits(ip, length);
      const [first, last] = [ip.value >> shift, lastOf(subnet).value >> shift];
      for (const [part, holder] of claims) if (part >= first && part <= last) return holder;
    }
    return undefined;
  }

  #hostBits(ip: Cidr['ip'], prefix: number): bigint {
    return BigInt((familyOf(ip) === 4 ? 32 : 128) - prefix);
  }
}
