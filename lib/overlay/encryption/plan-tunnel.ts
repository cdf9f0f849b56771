import {formatIp} from '../../ip/address.ts';
import {formatCidr} from '../../ip/cidr.ts';
import type {
  Endpoint,
  WireguardChange,
  WireguardDevice,
  WireguardPeer,
} from '../../netlink/wireguard/device.ts';
import type {SecureTunnel} from './plan.ts';

// A handshake lasts this long: within it, the address in use is one that works.
const freshSeconds = 180;

/**
 * What makes a WireGuard device as it should be. A peer that moved by itself keeps the address it was last heard from,
 * as long as it is heard and `before` did not say another one.
 */
export function planTunnel(
  tunnel: SecureTunnel,
  actual: WireguardDevice,
  {now, before}: {readonly now: number; readonly before?: SecureTunnel | undefined},
): WireguardChange {
  const found = new Map(actual.peers.map((peer) => [hex(peer.publicKey), peer]));
  const told = new Map((before?.peers ?? []).map((peer) => [hex(peer.publicKey), peer.endpoint]));
  const set: WireguardPeer[] = [];
  for (const peer of tunnel.peers) {
    const key = hex(peer.publicKey);
    const is = found.get(key);
    found.delete(key);
    const last = told.get(key);
    const isFresh = is !== undefined && now - is.lastHandshake < freshSeconds;
    const isNews = last !== undefined && !sameEndpoint(last, peer.endpoint);
    const endpoint =
      !sameEndpoint(is?.endpoint, peer.endpoint) && (isNews || !isFresh) ? peer.endpoint : undefined;
    const isSame = is && hex(is.presharedKey) === hex(peer.presharedKey) && sameAddresses(is, peer);
    if (!isSame || endpoint) set.push({...peer, endpoint});
  }
  return {
    ...(hex(actual.publicKey) !== hex(tunnel.keys.publicKey) && {privateKey: tunnel.keys.privateKey}),
    ...(actual.port !== tunnel.port && {port: tunnel.port}),
    ...(set.length > 0 && {set}),
    ...(found.size > 0 && {remove: [...found.values()].map(({publicKey}) => publicKey)}),
  };
}

function hex(bytes: Uint8Array | undefined): string {
  return Buffer.from(bytes ?? []).toString('hex');
}

function sameEndpoint(a: Endpoint | undefined, b: Endpoint): boolean {
  return a !== undefined && a.port === b.port && formatIp(a.ip) === formatIp(b.ip);
}

function sameAddresses(a: WireguardPeer, b: WireguardPeer): boolean {
  const of = ({allowedIps}: WireguardPeer) => allowedIps.map(formatCidr).sort().join();
  return of(a) === of(b);
}
