import {familyOf, formatIp, parseIp, type Ip} from '../../../lib/ip/address.ts';
import {parseCidr, subnetOf, type Cidr} from '../../../lib/ip/cidr.ts';
import {parseMac} from '../../../lib/ip/mac.ts';
import type {Member} from '../../../lib/overlay/member.ts';
import type {Advertisement} from '../membership.ts';

/** What is kept of a Node: a fraction of the fifteen kilobytes that it usually has. */
export interface KubeNode {
  readonly name: string;
  readonly podCIDRs: readonly string[];
  /** Those with flannel's prefix, without it, and `mtu` of ours. */
  readonly annotations: Readonly<Record<string, string>>;
  readonly createdAt: string;
  /** Status of the condition NetworkUnavailable: "True", "False", "Unknown"; undefined without one. */
  readonly networkUnavailable: string | undefined;
}

/** The object of the API, where it is read; everything else of it is dropped. */
export interface ApiNode {
  readonly metadata?: {
    readonly name?: string;
    readonly resourceVersion?: string;
    readonly creationTimestamp?: string;
    readonly annotations?: Readonly<Record<string, string>>;
  };
  readonly spec?: {readonly podCIDR?: string; readonly podCIDRs?: readonly string[]};
  readonly status?: {readonly conditions?: readonly {readonly type?: string; readonly status?: string}[]};
}

/** Of what flannel does not know. */
const ownPrefix = 'weft.dev/';

export function nodeOf({metadata = {}, spec = {}, status = {}}: ApiNode, prefix: string): KubeNode {
  const {podCIDR, podCIDRs = []} = spec;
  const annotations: Record<string, string> = {};
  for (const [key, value] of Object.entries(metadata.annotations ?? {})) {
    if (key.startsWith(prefix)) annotations[key.slice(prefix.length)] = value;
    else if (key === `${ownPrefix}mtu`) annotations['mtu'] = value;
  }
  return {
    name: metadata.name ?? '',
    podCIDRs: podCIDRs.length > 0 || podCIDR === undefined || podCIDR === '' ? podCIDRs : [podCIDR],
    annotations,
    createdAt: metadata.creationTimestamp ?? '',
    networkUnavailable: status.conditions?.find(({type}) => type === 'NetworkUnavailable')?.status,
  };
}

/** Its subnets: at most one of each family. Throws an Error for what is no subnet, or too many. */
export function subnetsOf({name, podCIDRs}: KubeNode): readonly Cidr[] {
  const subnets = podCIDRs.map((text) => {
    const cidr = parseCidr(text);
    if (cidr === undefined) throw new Error(`node ${name}: podCIDR ${JSON.stringify(text)} is not a subnet`);
    return subnetOf(cidr);
  });
  if (new Set(subnets.map(({ip}) => familyOf(ip))).size < subnets.length)
    throw new Error(`node ${name}: podCIDRs ${podCIDRs.join(', ')}: at most one of each family can be used`);
  return subnets;
}

/** The member that a node's annotations describe; undefined while it says nothing that could be used. */
export function memberOf(node: KubeNode): Member | undefined {
  const {name, annotations, createdAt} = node;
  if (annotations['kube-subnet-manager'] !== 'true' || annotations['backend-type'] !== 'vxlan')
    return undefined;
  const addresses = {4: addressOf(annotations['public-ip'], 4), 6: addressOf(annotations['public-ipv6'], 6)};
  const macs = {4: macOf(annotations['backend-data']), 6: macOf(annotations['backend-v6-data'])};
  const families = ([4, 6] as const).filter((family) => addresses[family] && macs[family]);
  if (families.length === 0) return undefined;
  let subnets: readonly Cidr[];
  try {
    subnets = subnetsOf(node);
  } catch {
    return undefined;
  }
  if (subnets.length === 0) return undefined;
  const mtu = Number(annotations['mtu']);
  const created = Date.parse(createdAt);
  return {
    id: name,
    underlay: families.map((family) => addresses[family]!),
    subnets,
    macs: Object.fromEntries(families.map((family) => [family, macs[family]])),
    ...(Number.isInteger(mtu) && {mtu}),
    ...(Number.isFinite(created) && {seniority: created / 1000}),
  };
}

function addressOf(text: string | undefined, family: 4 | 6): Ip | undefined {
  const ip = parseIp(text ?? '');
  return ip !== undefined && familyOf(ip) === family ? ip : undefined;
}

function macOf(data: string | undefined): string | undefined {
  try {
    const {VtepMAC: mac} = JSON.parse(data ?? '') as {VtepMAC?: unknown};
    return typeof mac === 'string' ? parseMac(mac) : undefined;
  } catch {
    return undefined;
  }
}

/** Which addresses people want this node to use as the underlay. */
export function wantedUnderlayOf({annotations}: KubeNode): readonly Ip[] | undefined {
  const wanted = [
    addressOf(annotations['node-public-ip'], 4),
    addressOf(annotations['node-public-ipv6'], 6),
  ].filter((ip) => ip !== undefined);
  return wanted.length > 0 ? wanted : undefined;
}

/**
 * What our own annotations have to be, byte for byte as flannel writes them; null for one to be removed. Where an address is
 * to be told that the host itself does not have (NAT), that one is told.
 */
export function annotationsOf(
  {underlay, macs, mtu}: Advertisement,
  {node, vni, prefix}: {readonly node: KubeNode; readonly vni: number; readonly prefix: string},
): Readonly<Record<string, string | null>> {
  const of = (family: 4 | 6) => {
    const ip = underlay.find((each) => familyOf(each) === family);
    const mac = macs[family];
    const six = family === 6 ? 'v6' : '';
    const overwrite = node.annotations[`public-ip${six}-overwrite`];
    const isUsed = ip !== undefined && mac !== undefined;
    return {
      [`backend-${six === '' ? '' : 'v6-'}data`]: isUsed ? JSON.stringify({VNI: vni, VtepMAC: mac}) : null,
      [`public-ip${six}`]: isUsed ? overwrite || formatIp(ip) : null,
    };
  };
  const wanted: Record<string, string | null> = {
    ...of(4),
    ...of(6),
    'backend-type': 'vxlan',
    'kube-subnet-manager': 'true',
  };
  const changes = Object.entries(wanted)
    .filter(([key, value]) => (node.annotations[key] ?? null) !== value)
    .map(([key, value]) => [`${prefix}${key}`, value] as const);
  const mtuText = mtu === undefined ? null : String(mtu);
  if ((node.annotations['mtu'] ?? null) !== mtuText) changes.push([`${ownPrefix}mtu`, mtuText]);
  return Object.fromEntries(changes);
}

/** Kubernetes' condition that keeps pods away from a node whose network does not work. */
export function conditionOf(ready: boolean, now: string): object {
  return {
    type: 'NetworkUnavailable',
    status: ready ? 'False' : 'True',
    reason: ready ? 'WeftIsUp' : 'WeftIsNotReady',
    message: ready
      ? 'weft is running on this node'
      : 'weft on this node is not ready: see the log of its agent',
    lastTransitionTime: now,
    lastHeartbeatTime: now,
  };
}
