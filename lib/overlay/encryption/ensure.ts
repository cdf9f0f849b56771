import type {Host} from '../../host.ts';
import {sameCidr} from '../../ip/cidr.ts';
import {isExists, isUnsupported, NetlinkError} from '../../netlink/error.ts';
import {getFamily, openGenericSocket} from '../../netlink/generic/socket.ts';
import type {Netlink} from '../../netlink/netlink.ts';
import {addAddress, listAddresses, removeAddress} from '../../netlink/route/address.ts';
import {
  addLink,
  findLink,
  getLink,
  listLinks,
  removeLink,
  setLink,
  type Link,
} from '../../netlink/route/link.ts';
import {changeWireguard, getWireguard, type WireguardDevice} from '../../netlink/wireguard/device.ts';
import {deviceAlias} from '../device-spec.ts';
import {planTunnel} from './plan-tunnel.ts';
import type {SecureTunnel} from './plan.ts';

/** What became of a tunnel. */
export interface EnsuredTunnel {
  readonly outcome: 'kept' | 'changed' | 'made';
  /** How many peers were set and removed. */
  readonly set: number;
  readonly removed: number;
}

/** A generic netlink socket, and the number of WireGuard's family: asked for once. */
export interface WireguardSocket {
  readonly socket: Netlink;
  readonly family: number;
}

/**
 * Opens it in the namespace that the thread is in. Throws an Error with the remedy where the kernel has no WireGuard; the
 * module is loaded by making a link of that kind first (`rt`).
 */
export async function openWireguard(rt: Host['rt'], open = openGenericSocket): Promise<WireguardSocket> {
  const socket = open();
  try {
    try {
      return {socket, family: await getFamily(socket, 'wireguard')};
    } catch (error) {
      if (!(error instanceof NetlinkError) || error.code !== 'ENOENT') throw error;
      await loadModule(rt);
      return {socket, family: await getFamily(socket, 'wireguard')};
    }
  } catch (cause) {
    socket.close();
    throw new Error(
      'encryption needs WireGuard, which this kernel has not: Linux 5.6 or newer, or the module (modprobe wireguard)',
      {cause},
    );
  }
}

/** The kernel loads the module of a kind of link that it is asked for. */
async function loadModule(rt: Host['rt']): Promise<void> {
  const name = 'wg-weft-probe';
  await addLink(rt, {name, info: {kind: 'wireguard'}}).catch((error: unknown) => {
    if (!isExists(error) && !isUnsupported(error)) throw error;
  });
  await removeLink(rt, {name});
}

/** Makes a tunnel what it shall be; what its peers have going on is not touched. `before` is what was ensured last. */
export async function ensureTunnel(
  rt: Host['rt'],
  wireguard: WireguardSocket,
  tunnel: SecureTunnel,
  {network, before}: {readonly network: string; readonly before?: SecureTunnel | undefined},
): Promise<EnsuredTunnel> {
  const {name, mtu, address} = tunnel;
  const found = await findLink(rt, {name});
  if (found && found.info?.kind !== 'wireguard')
    throw new Error(`${name} is there, and is no WireGuard device: ip link del ${name}, or another VNI`);
  const link = found ?? (await makeLink(rt, name));
  const {socket, family} = wireguard;
  const actual: WireguardDevice = await getWireguard(socket, {family, name});
  const change = planTunnel(tunnel, actual, {now: Date.now() / 1000, before});
  const isChanged = Object.keys(change).length > 0;
  if (isChanged) await changeWireguard(socket, {family, name}, change);
  const isLinkChanged = await settleLink(rt, link, {mtu, address, alias: deviceAlias(network)});
  return {
    outcome: found ? (isChanged || isLinkChanged ? 'changed' : 'kept') : 'made',
    set: change.set?.length ?? 0,
    removed: change.remove?.length ?? 0,
  };
}

/** Removes the tunnels of a network that are none of these: those of secrets that are not used any more. */
export async function removeTunnels(
  rt: Host['rt'],
  network: string,
  keep: readonly SecureTunnel[],
): Promise<readonly string[]> {
  const links = await listLinks(rt, {kind: 'wireguard'});
  const stale = links.filter(
    ({alias, name}) => alias === deviceAlias(network) && !keep.some((tunnel) => tunnel.name === name),
  );
  for (const {ifindex} of stale) await removeLink(rt, {ifindex});
  return stale.map(({name}) => name);
}

async function makeLink(rt: Host['rt'], name: string): Promise<Link> {
  await addLink(rt, {name, info: {kind: 'wireguard'}});
  return getLink(rt, {name});
}

async function settleLink(
  rt: Host['rt'],
  link: Link,
  {
    mtu,
    address,
    alias,
  }: {readonly mtu: number; readonly address: SecureTunnel['address']; readonly alias: string},
): Promise<boolean> {
  const {ifindex} = link;
  const addresses = (await listAddresses(rt, {ifindex, family: 6})).filter(({scope}) => scope === 0);
  const isThere = addresses.some((each) => sameCidr(each, address));
  const others = addresses.filter((each) => !sameCidr(each, address));
  const change = {
    ...(link.mtu !== mtu && {mtu}),
    ...(link.alias !== alias && {alias}),
    ...(!link.up && {up: true}),
  };
  if (Object.keys(change).length > 0) await setLink(rt, {ifindex}, change);
  if (!isThere) await addAddress(rt, {...address, ifindex, noDad: true});
  for (const other of others) await removeAddress(rt, {...other, ifindex});
  return Object.keys(change).length > 0 || !isThere || others.length > 0;
}
