import {familyOf, formatIp, parseIp, type Ip} from '../../../lib/ip/address.ts';
import {parseCidr, sameCidr, subnetOf, type Cidr} from '../../../lib/ip/cidr.ts';
import {parseMac} from '../../../lib/ip/mac.ts';
import type {Member} from '../../../lib/overlay/member.ts';
import type {Advertisement} from '../membership.ts';

// flannel's records (pkg/subnet/subnet.go, pkg/lease/lease.go): the key says the subnets, the value who has them. What is
// ours is a field that flannel does not know and therefore ignores.

const keyPattern = /^(\d+\.\d+\.\d+\.\d+)-(\d+)(?:&([a-f\d:]+)-(\d+))?$/;
/** As flannel writes a network of IPv6 alone: the IPv4 part is its zero value. */
const noIpv4 = '0.0.0.0-0';

/** "10.5.52.0-24" or "10.5.52.0-24&fd00:5:34::-64" → subnets; undefined for what is no such key. */
export function parseLeaseKey(key: string): readonly Cidr[] | undefined {
  const match = keyPattern.exec(key);
  if (match === null) return undefined;
  const [, ip4 = '', length4 = '', ip6, length6 = ''] = match;
  const texts = [
    ...(key.startsWith(noIpv4) ? [] : [`${ip4}/${length4}`]),
    ...(ip6 === undefined ? [] : [`${ip6}/${length6}`]),
  ];
  const subnets = texts.map(parseCidr);
  if (
    subnets.length === 0 ||
    subnets.some((subnet) => subnet === undefined || !sameCidr(subnet, subnetOf(subnet)))
  )
    return undefined;
  return subnets as readonly Cidr[];
}

export function formatLeaseKey(subnets: readonly Cidr[]): string {
  const part = (family: 4 | 6) => {
    const subnet = subnets.find(({ip}) => familyOf(ip) === family);
    return subnet && `${formatIp(subnet.ip)}-${subnet.prefix}`;
  };
  const six = part(6);
  return `${part(4) ?? noIpv4}${six === undefined ? '' : `&${six}`}`;
}

/** What a lease's value says. */
export interface Lease {
  /** Ours only: the identity of the host. flannel knows its address alone. */
  readonly id: string | undefined;
  readonly underlay: readonly Ip[];
  /** "" in a reservation. */
  readonly backend: string;
  readonly macs: Member['macs'];
  readonly vni: number | undefined;
  readonly mtu: number | undefined;
}

/** Reads LeaseAttrs as JSON; undefined for what is none. */
export function parseLease(value: string): Lease | undefined {
  let json: unknown;
  try {
    json = JSON.parse(value);
  } catch {
    return undefined;
  }
  const attrs = objectOf(json);
  if (attrs === undefined) return undefined;
  const ours = objectOf(attrs['Weft']);
  const data = objectOf(attrs['BackendData']);
  const dataV6 = objectOf(attrs['BackendV6Data']);
  const [mac, macV6] = [data, dataV6].map((each) => parseMac(textOf(each?.['VtepMAC']) ?? ''));
  const vni = data?.['VNI'] ?? dataV6?.['VNI'];
  const mtu = ours?.['mtu'];
  return {
    id: textOf(ours?.['id']),
    underlay: [attrs['PublicIP'], attrs['PublicIPv6']]
      .map((text) => parseIp(textOf(text) ?? ''))
      // flannel's zero value of a family that it has not.
      .filter((ip) => ip !== undefined && ip.value !== 0n) as Ip[],
    backend: textOf(attrs['BackendType']) ?? '',
    macs: {...(mac !== undefined && {4: mac}), ...(macV6 !== undefined && {6: macV6})},
    vni: typeof vni === 'number' ? vni : undefined,
    mtu: typeof mtu === 'number' ? mtu : undefined,
  };
}

/**
 * The value as flannel itself writes it, byte for byte (Go's encoding/json: order of the fields, null for no IPv6), and one
 * more field.
 */
export function formatLease(
  {underlay, macs, mtu}: Advertisement,
  {vni, id}: {readonly vni: number; readonly id: string},
): string {
  const ip = (family: 4 | 6) => {
    const found = underlay.find((each) => familyOf(each) === family);
    return found && formatIp(found);
  };
  const data = (mac: string | undefined) => mac && {VNI: vni, VtepMAC: mac};
  return JSON.stringify({
    PublicIP: ip(4) ?? '0.0.0.0',
    PublicIPv6: ip(6) ?? null,
    BackendType: 'vxlan',
    BackendData: data(macs[4]),
    BackendV6Data: data(macs[6]),
    Weft: {v: 1, id, mtu},
  });
}

function objectOf(value: unknown): Readonly<Record<string, unknown>> | undefined {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
    ? (value as Readonly<Record<string, unknown>>)
    : undefined;
}

function textOf(value: unknown): string | undefined {
  return typeof value === 'string' ? value : undefined;
}
