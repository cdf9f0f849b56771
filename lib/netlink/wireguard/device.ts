import type {Ip} from '../../ip/address.ts';
import {bitsOf, familyOf, ipBytes, ipFromBytes} from '../../ip/address.ts';
import type {Cidr} from '../../ip/cidr.ts';
import {array, attrs, message} from '../attrs.ts';
import {bytes, ip, string, u16, u32, u64, u8, type Codec} from '../codec.ts';
import {genlmsghdr} from '../generic/socket.ts';
import type {Request} from '../message.ts';
import type {Netlink} from '../netlink.ts';
import {struct} from '../struct.ts';
import {afInet, afInet6} from '../route/socket.ts';

/** Where a peer is reached: an address of the underlay and a UDP port. */
export interface Endpoint {
  readonly ip: Ip;
  readonly port: number;
}

/** struct sockaddr_in and sockaddr_in6: family, port, (flow,) address, (scope or padding). */
const endpoint: Codec<Endpoint> = {
  put(w, {ip, port}) {
    const isV4 = familyOf(ip) === 4;
    const address = Buffer.alloc(isV4 ? 16 : 28);
    address.writeUInt16LE(isV4 ? afInet : afInet6, 0);
    address.writeUInt16BE(port, 2);
    ipBytes(ip).copy(address, isV4 ? 4 : 8);
    w.append(address);
  },
  get(b, start, end) {
    const isV4 = b.readUInt16LE(start) === afInet;
    const at = start + (isV4 ? 4 : 8);
    const size = isV4 ? 4 : 16;
    if (at + size > end) throw new RangeError(`an endpoint of ${end - start} bytes`);
    return {ip: ipFromBytes(b.subarray(at, at + size)), port: b.readUInt16BE(start + 2)};
  },
};

/** enum wgallowedip_attribute of linux/wireguard.h. */
const allowedIp = attrs({family: [1, u16], ip: [2, ip], prefix: [3, u8]});

/** enum wgpeer_attribute. */
const peerAttributes = attrs({
  publicKey: [1, bytes],
  presharedKey: [2, bytes],
  flags: [3, u32],
  endpoint: [4, endpoint],
  // In seconds; 0 is none.
  keepalive: [5, u16],
  // struct __kernel_timespec; zero before the first.
  lastHandshake: [6, struct({seconds: u64, nanoseconds: u64})],
  rxBytes: [7, u64],
  txBytes: [8, u64],
  allowedIps: [9, array(allowedIp)],
});

/** enum wgdevice_attribute. */
const deviceAttributes = attrs({
  ifindex: [1, u32],
  name: [2, string],
  privateKey: [3, bytes],
  publicKey: [4, bytes],
  flags: [5, u32],
  port: [6, u16],
  mark: [7, u32],
  peers: [8, array(peerAttributes)],
});
export const wireguardMessage = message(genlmsghdr, deviceAttributes);

// linux/wireguard.h
const commands = {get: 0, set: 1};
const peerFlags = {remove: 1, replaceAllowedIps: 2};
const version = 1;
// Of one message; the nest of peers has a length of 16 bits.
const mostPeers = 200;

/** A peer as it shall be. */
export interface WireguardPeer {
  readonly publicKey: Uint8Array;
  /** Beside the key exchange: who records traffic now does not read it with a quantum computer. */
  readonly presharedKey?: Uint8Array | undefined;
  /** Where it is; `undefined` leaves what is known. */
  readonly endpoint?: Endpoint | undefined;
  /** The addresses that it may have inside, and that are sent to it. */
  readonly allowedIps: readonly Cidr[];
}

/** A peer as the kernel has it. */
export interface WireguardPeerState extends WireguardPeer {
  /** In seconds since 1970; 0 before the first. */
  readonly lastHandshake: number;
  readonly rxBytes: bigint;
  readonly txBytes: bigint;
}

export interface WireguardDevice {
  readonly ifindex: number;
  /** All zero, or missing, where none was set. */
  readonly publicKey: Uint8Array | undefined;
  readonly port: number;
  readonly peers: readonly WireguardPeerState[];
}

/** What to change of a device; peers that are not mentioned stay. */
export interface WireguardChange {
  readonly privateKey?: Uint8Array | undefined;
  readonly port?: number | undefined;
  readonly set?: readonly WireguardPeer[] | undefined;
  /** Public keys of peers to forget. */
  readonly remove?: readonly Uint8Array[] | undefined;
}

/** The device with this name, with all its peers. ENODEV where there is none, EOPNOTSUPP where it is another kind. */
export async function getWireguard(
  socket: Netlink,
  {family, name}: {readonly family: number; readonly name: string},
): Promise<WireguardDevice> {
  const parts = await socket.dump(
    {
      type: family,
      body: (w) => wireguardMessage.put(w, {header: {command: commands.get, version}, attributes: {name}}),
      what: `get the peers of ${name}`,
    },
    ({buffer, start, end}) => wireguardMessage.get(buffer, start, end).attributes,
  );
  const peers = new Map<string, WireguardPeerState>();
  for (const found of parts.flatMap((part) => part.peers ?? [])) {
    const key = Buffer.from(found.publicKey ?? []).toString('hex');
    const allowedIps = (found.allowedIps ?? []).flatMap((each) =>
      each.ip && each.prefix !== undefined ? [{ip: each.ip, prefix: each.prefix}] : [],
    );
    const before = peers.get(key);
    // One with many addresses goes on in the next message.
    if (before) peers.set(key, {...before, allowedIps: [...before.allowedIps, ...allowedIps]});
    else
      peers.set(key, {
        publicKey: found.publicKey ?? new Uint8Array(),
        presharedKey: found.presharedKey,
        endpoint: found.endpoint,
        allowedIps,
        lastHandshake: Number(found.lastHandshake?.seconds ?? 0n),
        rxBytes: found.rxBytes ?? 0n,
        txBytes: found.txBytes ?? 0n,
      });
  }
  const [first] = parts;
  return {
    ifindex: first?.ifindex ?? 0,
    publicKey: first?.publicKey,
    port: first?.port ?? 0,
    peers: [...peers.values()],
  };
}

/** Changes a device, in as many messages as its peers need. */
export async function changeWireguard(
  socket: Netlink,
  {family, name}: {readonly family: number; readonly name: string},
  change: WireguardChange,
): Promise<void> {
  for (const request of wireguardRequests({family, name}, change)) await socket.request(request);
}

/** The messages of `changeWireguard`. */
export function wireguardRequests(
  {family, name}: {readonly family: number; readonly name: string},
  {privateKey, port, set = [], remove = []}: WireguardChange,
): readonly Request[] {
  const peers = [
    // First, so that addresses they had are free.
    ...remove.map((publicKey) => ({publicKey, flags: peerFlags.remove})),
    ...set.map(({publicKey, presharedKey, endpoint, allowedIps}) => ({
      publicKey,
      presharedKey,
      flags: peerFlags.replaceAllowedIps,
      endpoint,
      allowedIps: allowedIps.map(({ip, prefix}) => ({
        family: bitsOf(familyOf(ip)) === 32 ? afInet : afInet6,
        ip,
        prefix,
      })),
    })),
  ];
  const count = Math.max(1, Math.ceil(peers.length / mostPeers));
  return Array.from({length: count}, (_, i): Request => {
    const some = peers.slice(i * mostPeers, (i + 1) * mostPeers);
    const own = i === 0 ? {privateKey, port} : {};
    return {
      type: family,
      body: (w) =>
        wireguardMessage.put(w, {
          header: {command: commands.set, version},
          attributes: {name, ...own, peers: some.length > 0 ? some : undefined},
        }),
      what: `set ${some.length} peers of ${name}`,
    };
  });
}
