import type {Host} from '../host.ts';
import {familyOf} from '../ip/address.ts';
import {isExists, isNotFound, NetlinkError} from '../netlink/error.ts';
import {addAddress, listAddresses, removeAddress} from '../netlink/route/address.ts';
import {
  addLink,
  findLink,
  getLink,
  listLinks,
  removeLink,
  setLink,
  type Link,
} from '../netlink/route/link.ts';
import {isNoSysctl} from '../netns/sysctl.ts';
import {ensureChecksums} from './checksum.ts';
import {formatDevicePlan, planDevice, vxlanData, type DevicePlan} from './device.ts';
import {deviceAlias, type DeviceSpec} from './device-spec.ts';
import {segmentGatewayMac} from './segment-bridge.ts';

/** What became of a device. */
export interface EnsuredDevice {
  readonly link: Link;
  /** After anything but `kept`, neighbours and routes may be gone with what was changed. */
  readonly outcome: 'kept' | 'changed' | 'made' | 'remade';
  /** What was different, in words. */
  readonly what: string;
}

type DeviceHost = Pick<Host, 'rt' | 'sysctl'>;

/**
 * Makes the device what it shall be, in place where the kernel can, and up. Throws the NetlinkError with the remedy in a
 * sentence where another program's device is in the way.
 */
export async function ensureDevice(host: DeviceHost, spec: DeviceSpec): Promise<EnsuredDevice> {
  const device = await ensureLink(host, spec);
  // Of the namespace that this process is in, as the sysctls; newer kernels need nothing.
  ensureChecksums(spec.name);
  return device;
}

async function ensureLink(host: DeviceHost, spec: DeviceSpec): Promise<EnsuredDevice> {
  const {rt} = host;
  const bridge = spec.bridge === undefined ? undefined : await ensureSegmentBridge(host, spec.bridge, spec);
  const link = await findLink(rt, {name: spec.name});
  const found = link && {link, addresses: await listAddresses(rt, {ifindex: link.ifindex})};
  const plan = planDevice(spec, found, {bridge: bridge?.ifindex});
  const what = formatDevicePlan(plan);
  if (!found) return {link: await makeDevice(host, spec, bridge), outcome: 'made', what: 'was not there'};
  if (plan.remake.length > 0) return remakeDevice(host, spec, {found: found.link, bridge, what});
  if (what === '') return {link: found.link, outcome: 'kept', what};
  try {
    await changeDevice(host, found.link, plan);
  } catch (error) {
    // An older kernel cannot do in place what this one can.
    if (!(error instanceof NetlinkError) || error.code !== 'EOPNOTSUPP') throw explain(error, spec);
    return remakeDevice(host, spec, {found: found.link, bridge, what: `${what}: ${error.message}`});
  }
  return {link: await getLink(rt, {ifindex: found.link.ifindex}), outcome: 'changed', what};
}

/** The devices of a network, whatever their names: found by whose they are. */
export async function listOverlayDevices(rt: Host['rt'], network: string): Promise<Link[]> {
  const links = await listLinks(rt, {kind: 'vxlan'});
  return links.filter(({alias}) => alias === deviceAlias(network));
}

async function makeDevice(host: DeviceHost, spec: DeviceSpec, bridge: Link | undefined): Promise<Link> {
  const {rt} = host;
  const {name, mac, mtu} = spec;
  try {
    await addLink(rt, {name, mac, mtu, info: {kind: 'vxlan', data: vxlanData(spec)}});
  } catch (error) {
    throw await explainObstacle(rt, spec, error);
  }
  const made = await getLink(rt, {name});
  try {
    const plan = planDevice(spec, {link: made, addresses: []}, {bridge: bridge?.ifindex});
    await changeDevice(host, made, plan);
  } catch (error) {
    // Half a device would be taken for a whole one.
    await removeLink(rt, made).catch(() => {});
    throw explain(error, spec);
  }
  return getLink(rt, {ifindex: made.ifindex});
}

async function remakeDevice(
  host: DeviceHost,
  spec: DeviceSpec,
  {found, bridge, what}: {readonly found: Link; readonly bridge: Link | undefined; readonly what: string},
): Promise<EnsuredDevice> {
  if (found.info?.kind !== 'vxlan') {
    throw new Error(
      `${spec.name} is there, and is no vxlan device: ip link del ${spec.name}, or another VNI`,
    );
  }
  await removeLink(host.rt, {ifindex: found.ifindex});
  return {link: await makeDevice(host, spec, bridge), outcome: 'remade', what};
}

async function changeDevice(host: DeviceHost, {ifindex, name}: Link, plan: DevicePlan): Promise<void> {
  const {rt} = host;
  refuseAdvertisements(host, name);
  const {info, ...others} = plan.change;
  // By itself: with the attributes of its kind, the kernel refuses a new MTU.
  if (info) await setLink(rt, {ifindex}, {info});
  if (Object.keys(others).length > 0) await setLink(rt, {ifindex}, others);
  for (const address of plan.addAddresses)
    await addAddress(rt, {...address, ifindex, noDad: familyOf(address.ip) === 6}).catch((error: unknown) => {
      if (!isExists(error)) throw error;
    });
  for (const address of plan.removeAddresses) await removeAddress(rt, {...address, ifindex});
}

/** What comes through the tunnel is no router of ours. */
function refuseAdvertisements({sysctl}: DeviceHost, name: string): void {
  try {
    sysctl.ensure(`net/ipv6/conf/${name}/accept_ra`, '0');
  } catch (error) {
    if (!isNoSysctl(error)) throw error;
  }
}

/** The bridge of a segment; the CNI plugin may have made it, or will find it. */
async function ensureSegmentBridge(host: DeviceHost, name: string, {vni, mtu}: DeviceSpec): Promise<Link> {
  const {rt} = host;
  const mac = segmentGatewayMac(vni);
  let found = await findLink(rt, {name});
  if (!found) {
    await addLink(rt, {name, mtu, mac, info: {kind: 'bridge'}, up: true}).catch((error: unknown) => {
      if (!isExists(error)) throw error;
    });
    found = await getLink(rt, {name});
    refuseAdvertisements(host, name);
  }
  if (found.info?.kind !== 'bridge') throw new Error(`${name} is no bridge; give "bridge" another name`);
  // Also one that the CNI plugin, or somebody else, made: all hosts have to agree on it.
  if (!found.up || found.mac !== mac) await setLink(rt, {ifindex: found.ifindex}, {up: true, mac});
  return found;
}

/** The kernel says only that the VNI is taken: whose device it is, is what helps. */
async function explainObstacle(rt: Host['rt'], spec: DeviceSpec, error: unknown): Promise<unknown> {
  if (!isExists(error)) return explain(error, spec);
  const links = await listLinks(rt, {kind: 'vxlan'});
  const other = links.find(
    ({info}) => info?.kind === 'vxlan' && info.data?.id === spec.vni && info.data.port === spec.port,
  );
  const whose = other === undefined ? 'another device' : `the device ${other.name}`;
  return new Error(
    `VNI ${spec.vni} on port ${spec.port} is taken by ${whose}: remove it (ip link del), or choose another VNI`,
    {cause: error},
  );
}

function explain(error: unknown, {name, port, mtu, link}: DeviceSpec): unknown {
  if (error instanceof NetlinkError && error.code === 'EADDRINUSE') {
    return new Error(
      `${name}: UDP port ${port} is in use by another program or by a vxlan device of other flags (ss -lun)`,
      {cause: error},
    );
  }
  if (isNotFound(error) && link !== undefined)
    return new Error(`${name}: the device below (link ${link}) is gone`, {cause: error});
  if (error instanceof NetlinkError && error.code === 'EINVAL')
    return new Error(`${name}: is its MTU (${mtu}) more than the device below allows?`, {cause: error});
  return error;
}
