import {familyOf, formatIp, type Ip} from '../../lib/ip/address.ts';
import type {Membership} from '../../lib/overlay/desired.ts';
import type {Endpoint, Member} from '../../lib/overlay/member.ts';
import type {Desired} from '../../lib/overlay/state.ts';
import {deriveVtepMac} from '../../lib/overlay/vtep-mac.ts';
import type {Advertisement, Snapshot} from '../membership/membership.ts';
import type {Underlay} from './underlay.ts';

/** What this host's own record follows from. */
export interface SelfFacts {
  readonly node: string;
  readonly snapshot: Snapshot;
  readonly underlay: Underlay;
  /** Which addresses peers are told; the underlay's own where there are none. */
  readonly publicAddresses: readonly (Ip | undefined)[];
  /** Hardware addresses that the source names; the others follow from the host's name and the VNI. */
  readonly macs: Member['macs'] | undefined;
  readonly endpoints: readonly Endpoint[] | undefined;
  readonly plan: (membership: Membership) => Desired;
}

/** This host's own record as it shall be; its subnets are what the membership gave, none before that. */
export function planSelf({
  node,
  snapshot,
  underlay,
  publicAddresses,
  macs,
  endpoints,
  plan,
}: SelfFacts): Member {
  const {network, self} = snapshot;
  const named = publicAddresses.filter((ip) => ip !== undefined);
  const addresses = named.length > 0 ? named : underlay.addresses;
  const macOf = (family: 4 | 6) => macs?.[family] ?? deriveVtepMac({vni: network.vni, node, family});
  const member: Member = {
    id: node,
    subnets: self?.subnets ?? [],
    seniority: self?.seniority,
    underlay: addresses,
    macs: Object.fromEntries(
      [...addresses, ...underlay.addresses].map((ip) => [familyOf(ip), macOf(familyOf(ip))]),
    ),
    ...(endpoints && {endpoints}),
  };
  // The MTU follows from the devices, and those from the rest.
  const {devices} = plan({network, self: member, peers: []});
  return {...member, mtu: Math.min(...devices.map(({mtu}) => mtu))};
}

/** What of the own record is told to others. */
export function advertisementOf({underlay, macs, mtu, endpoints}: Member): Advertisement {
  return {underlay, macs, mtu, ...(endpoints && {endpoints})};
}

/** Two that say the same have the same text. */
export function formatAdvertisement({underlay, macs, mtu, endpoints}: Advertisement): string {
  const ends = endpoints?.map(({ips, mac}) => [mac, ...ips.map(formatIp)]);
  return JSON.stringify([underlay.map(formatIp), macs, mtu, ends]);
}
