import type {Cidr} from '../../lib/ip/cidr.ts';
import {familyOf} from '../../lib/ip/address.ts';
import type {Family, Ip} from '../../lib/ip/address.ts';
import type {PortProtocol} from '../../lib/netlink/nft/match.ts';

/** One port of the host that leads to one of the container. */
export interface Mapping {
  readonly protocol: PortProtocol;
  readonly hostPort: number;
  readonly containerPort: number;
  /** The host's address it is for; undefined for all of them. */
  readonly hostIp: Ip | undefined;
  /** The only family it is for; undefined for both. */
  readonly family: Family | undefined;
}

/** The container's addresses, with the prefix of their subnet: the first of each family. */
export type Containers = {readonly [F in Family]?: Cidr};

/** A mapping in one family: what a packet to it looks like, and where it goes. */
export interface Forward extends Mapping {
  readonly family: Family;
  readonly container: Cidr;
}

export const families: readonly Family[] = [4, 6];

/** The mappings of each family that the container has an address of; an address of the host counts for its own family. */
export function planForwards(mappings: readonly Mapping[], containers: Containers): Forward[] {
  return families.flatMap((family) => {
    const container = containers[family];
    if (!container) return [];
    return mappingsOf(mappings, family).map((mapping) => ({...mapping, family, container}));
  });
}

/** The mappings that concern a family. */
export function mappingsOf(mappings: readonly Mapping[], family: Family): Mapping[] {
  return mappings.filter((mapping) => mapping.family === undefined || mapping.family === family);
}

/** What "hostIP" says: 0.0.0.0 is every address of IPv4, :: every one of IPv6, none every address. */
export function planHostIp(ip: Ip | undefined): Pick<Mapping, 'hostIp' | 'family'> {
  return {hostIp: ip?.value === 0n ? undefined : ip, family: ip && familyOf(ip)};
}
