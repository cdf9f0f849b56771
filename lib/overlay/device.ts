import {familyOf, formatIp, sameIp} from '../ip/address.ts';
import {formatCidr, sameCidr, type Cidr} from '../ip/cidr.ts';
import {vxlanDf} from '../netlink/link/vxlan.ts';
import type {KnownLinkInfo} from '../netlink/link/kinds.ts';
import type {Address} from '../netlink/route/address.ts';
import type {Link, LinkChange} from '../netlink/route/link.ts';
import type {DeviceSpec} from './device-spec.ts';

/** What is to be done to a device; empty lists when it is as it should be. */
export interface DevicePlan {
  /** Why it has to be made anew; what is there (`found`) is removed first. */
  readonly remake: readonly string[];
  /** What differs and is changed in place, as words. */
  readonly changes: readonly string[];
  readonly change: LinkChange;
  readonly addAddresses: readonly Cidr[];
  readonly removeAddresses: readonly Cidr[];
}

type VxlanData = NonNullable<Extract<KnownLinkInfo, {kind: 'vxlan'}>['data']>;

/** The attributes that a device is made with. */
export function vxlanData(spec: DeviceSpec): VxlanData {
  return {
    id: spec.vni,
    ...(spec.link !== undefined && {link: spec.link}),
    ...(familyOf(spec.local) === 4 ? {local: spec.local} : {local6: spec.local}),
    port: spec.port,
    learning: spec.learning,
    proxy: spec.proxy,
    udpChecksum: spec.udpChecksum,
    df: vxlanDf[spec.df],
  };
}

/** Compares a device with what it shall be. `bridge` is the ifindex of `spec.bridge`. */
export function planDevice(
  spec: DeviceSpec,
  found: {readonly link: Link; readonly addresses: readonly Address[]} | undefined,
  {bridge}: {readonly bridge?: number | undefined} = {},
): DevicePlan {
  if (!found) {
    return {remake: [], changes: [], change: {}, addAddresses: spec.addresses, removeAddresses: []};
  }
  const remake = findRemakes(spec, found.link);
  const {change, changes} = findChanges(spec, found.link, bridge);
  const mine = found.addresses.filter(({scope}) => scope === 0);
  return {
    remake,
    changes,
    change,
    addAddresses: spec.addresses.filter((wanted) => !mine.some((address) => sameCidr(address, wanted))),
    removeAddresses: mine.filter((address) => !spec.addresses.some((wanted) => sameCidr(address, wanted))),
  };
}

/** What the kernel changes only by making the device anew. */
function findRemakes(spec: DeviceSpec, {info}: Link): string[] {
  if (info?.kind !== 'vxlan' || !info.data) {
    return [`it is no vxlan device but ${info === undefined ? 'another link' : `of kind ${kindOf(info)}`}`];
  }
  const {data} = info;
  const wanted: readonly (readonly [what: string, is: unknown, shall: unknown])[] = [
    ['VNI', data.id, spec.vni],
    ['port', data.port, spec.port],
    ['proxy', data.proxy ?? false, spec.proxy],
    ['udpcsum', isIpv4(spec) ? (data.udpChecksum ?? true) : spec.udpChecksum, spec.udpChecksum],
    ['gbp', data.gbp ?? false, false],
    ['gpe', data.gpe ?? false, false],
    ['external', data.collectMetadata ?? false, false],
    ['family of the underlay', data.local6 ? 6 : 4, familyOf(spec.local)],
  ];
  return wanted
    .filter(([, is, shall]) => is !== shall)
    .map(([what, is, shall]) => `${what} is ${String(is)} instead of ${String(shall)}`);
}

function isIpv4({local}: DeviceSpec): boolean {
  return familyOf(local) === 4;
}

function kindOf(info: NonNullable<Link['info']>): string {
  return info.kind === 'other' ? info.name : info.kind;
}

function findChanges(
  spec: DeviceSpec,
  link: Link,
  bridge: number | undefined,
): {readonly change: LinkChange; readonly changes: readonly string[]} {
  const changes: string[] = [];
  const data: {-readonly [K in keyof VxlanData]: VxlanData[K]} = {};
  const change: {-readonly [K in keyof LinkChange]: LinkChange[K]} = {};
  const is: VxlanData = link.info?.kind === 'vxlan' ? (link.info.data ?? {}) : {};
  const note = (what: string, from: unknown, to: unknown) =>
    changes.push(`${what} ${String(from)} -> ${String(to)}`);

  const local = is.local ?? is.local6;
  if (!sameIp(local, spec.local)) {
    Object.assign(data, isIpv4(spec) ? {local: spec.local} : {local6: spec.local});
    note('local', local && formatIp(local), formatIp(spec.local));
  }
  if ((is.link ?? 0) !== (spec.link ?? 0)) {
    data.link = spec.link ?? 0;
    note('link', is.link, spec.link);
  }
  if ((is.learning ?? false) !== spec.learning) {
    data.learning = spec.learning;
    note('learning', is.learning, spec.learning);
  }
  // Kernels that do not know it do not tell it either.
  if (is.df !== undefined && is.df !== vxlanDf[spec.df]) {
    data.df = vxlanDf[spec.df];
    note('df', is.df, vxlanDf[spec.df]);
  }
  if (changes.length > 0) change.info = {kind: 'vxlan', data: {id: spec.vni, ...data}};

  if (link.mtu !== spec.mtu) {
    change.mtu = spec.mtu;
    note('mtu', link.mtu, spec.mtu);
  }
  if (link.mac !== spec.mac) {
    change.mac = spec.mac;
    note('mac', link.mac, spec.mac);
  }
  if (link.alias !== spec.alias) {
    change.alias = spec.alias;
    note('alias', link.alias, spec.alias);
  }
  if (spec.bridge !== undefined && link.master !== bridge) {
    change.master = bridge;
    note('master', link.master, bridge);
  }
  if (!link.up) {
    change.up = true;
    note('state', 'down', 'up');
  }
  return {change, changes};
}

/** One line for logs: what a plan does. */
export function formatDevicePlan({remake, changes, addAddresses, removeAddresses}: DevicePlan): string {
  if (remake.length > 0) return `made anew: ${remake.join(', ')}`;
  return [
    ...changes,
    ...addAddresses.map((cidr) => `address + ${formatCidr(cidr)}`),
    ...removeAddresses.map((cidr) => `address - ${formatCidr(cidr)}`),
  ].join(', ');
}
