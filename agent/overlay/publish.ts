import {formatCidr, sameCidr, subnetOf, type Cidr} from '../../lib/ip/cidr.ts';
import {familyOf, ipFromValue} from '../../lib/ip/address.ts';
import {removeQuietly} from '../../lib/files.ts';
import type {OverlayNetwork} from '../../lib/overlay/member.ts';
import {findOverlayState, writeOverlayState, type OverlayState} from '../../lib/overlay/state-file.ts';
import {formatSubnetFile, parseSubnetFile} from '../../lib/overlay/subnet-file.ts';
import {publishFile, readIfThere} from './files.ts';

/** Where a network is published for the CNI plugin. */
export interface Places {
  readonly name: string;
  readonly subnetFile: string;
  /** Directory of the state files. */
  readonly runDir: string;
}

/** What is published of a network that works. */
export interface Published {
  readonly network: OverlayNetwork;
  readonly subnets: readonly Cidr[];
  readonly mtu: number;
  readonly masquerade: boolean;
  readonly bridge: string | undefined;
}

/** The subnets that the subnet file names; none where there is no file, or one that makes no sense. */
export function readPublishedSubnets(subnetFile: string): readonly Cidr[] {
  const text = readIfThere(subnetFile);
  if (text === undefined) return [];
  try {
    return parseSubnetFile(text, subnetFile).subnets.map(subnetOf);
  } catch {
    return [];
  }
}

/**
 * Takes the subnet file away where it names other subnets: from this moment, and before anything of the new ones is in the
 * kernel, no container must get an address of the old ones. Tells whether it did.
 */
export function withdrawOtherSubnets(places: Places, subnets: readonly Cidr[]): boolean {
  const published = readPublishedSubnets(places.subnetFile);
  if (published.length === 0) return false;
  const isSame =
    published.length === subnets.length &&
    published.every((one) => subnets.some((other) => sameCidr(one, other)));
  if (isSame) return false;
  removeQuietly(places.subnetFile);
  return true;
}

/** Writes the subnet file; only when the kernel is as it should be. Tells whether it changed. */
export function publishSubnets(
  {subnetFile}: Places,
  {network, subnets, mtu, masquerade}: Published,
): boolean {
  const own = subnets.map((subnet) => ({
    ip: network.form === 'l2' ? subnet.ip : ipFromValue(familyOf(subnet.ip), subnet.ip.value + 1n),
    prefix: subnet.prefix,
  }));
  return publishFile(
    subnetFile,
    formatSubnetFile({networks: network.ranges, subnets: own, mtu, ipMasq: masquerade}),
  );
}

/** Tells the plugin how the network is; `published` is what works, if anything. Tells whether that is news. */
export function publishState(
  {name, subnetFile, runDir}: Places,
  {reasons, published}: {readonly reasons: readonly string[]; readonly published: Published | undefined},
): boolean {
  const state: OverlayState = {
    network: name,
    ready: reasons.length === 0,
    ...(reasons.length > 0 && {reason: reasons.join('; ')}),
    subnetFile,
    subnets: published?.subnets.map(formatCidr) ?? [],
    ...(published && {
      mtu: published.mtu,
      form: published.network.form,
      vni: published.network.vni,
      ...(published.bridge !== undefined && {bridge: published.bridge}),
    }),
  };
  const before = findOverlayState({network: name, subnetFile: ''}, runDir);
  if (before && JSON.stringify(before) === JSON.stringify(state)) return false;
  writeOverlayState(state, runDir);
  return true;
}
