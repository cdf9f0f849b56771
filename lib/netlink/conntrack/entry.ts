import {familyOf, formatIp} from '../../ip/address.ts';
import type {Family, Ip} from '../../ip/address.ts';
import {attrs} from '../attrs.ts';
import {ip, u16be, u32, u32be, u8} from '../codec.ts';
import type {Values} from '../attrs.ts';
import type {Writer} from '../writer.ts';
import {isNotFound} from '../error.ts';
import type {Netlink} from '../netlink.ts';

// Connections that the kernel tracks: linux/netfilter/nfnetlink_conntrack.h, over the same kind of socket as nftables.

const subsystem = 1;
/** enum cntl_msg_types. */
const messages = {get: 1, delete: 2} as const;
// linux/socket.h
const addressFamilies = {4: 2, 6: 10} as const;
/** sizeof(struct nfgenmsg): family u8, version u8, resource u16be. */
const headerSize = 4;

/** enum ctattr_ip. */
const addresses = attrs({v4src: [1, ip], v4dst: [2, ip], v6src: [3, ip], v6dst: [4, ip]});
/** enum ctattr_l4proto. */
const ports = attrs({protocol: [1, u8], srcPort: [2, u16be], dstPort: [3, u16be]});
/** enum ctattr_tuple. */
const tuple = attrs({addresses: [1, addresses], ports: [2, ports], zone: [3, u16be]});
/** enum ctattr_filter. */
const filter = attrs({orig: [1, u32], reply: [2, u32]});
/** enum ctattr_type. */
export const conntrackAttributes = attrs({
  orig: [1, tuple],
  reply: [2, tuple],
  status: [3, u32be],
  id: [12, u32be],
  zone: [18, u16be],
  filter: [25, filter],
});
type Attributes = Values<typeof conntrackAttributes.table>;

/** Which parts of a tuple a filter compares: CTA_FILTER_F_*. Not addresses: of IPv6 the kernel takes those that differ. */
const compares = {protocol: 8, dstPort: 32} as const;

/** One direction of a connection. */
export interface Tuple {
  readonly src: Ip;
  readonly dst: Ip;
  readonly srcPort: number;
  readonly dstPort: number;
}

/** A connection: what its first packet looked like, and what answers look like. */
export interface Connection {
  readonly family: Family;
  readonly protocol: number;
  readonly orig: Tuple;
  readonly reply: Tuple;
  readonly zone: number;
  readonly id: number;
}

/** What connections have in common; the kernel does the choosing, and only sends those. */
export interface ConnectionFilter {
  readonly family: Family;
  readonly protocol: number;
  /** The destination port of the first packet. */
  readonly dstPort?: number;
}

/** The connections that match. Kernels before 5.8 send all of a family; the rest is left out here. */
export function listConnections(socket: Netlink, wanted: ConnectionFilter): Promise<Connection[]> {
  const {family, protocol, dstPort} = wanted;
  return socket.dump(
    {
      type: (subsystem << 8) | messages.get,
      what: `list connections of protocol ${protocol}`,
      body: (w) => putMessage(w, family, planFilter(wanted)),
    },
    ({buffer, start, end}) => {
      const connection = readConnection(family, conntrackAttributes.get(buffer, start + headerSize, end));
      if (!connection || connection.protocol !== protocol) return undefined;
      if (dstPort !== undefined && connection.orig.dstPort !== dstPort) return undefined;
      return connection;
    },
  );
}

function planFilter({protocol, dstPort}: ConnectionFilter): Attributes {
  return {
    orig: {ports: {protocol, ...(dstPort !== undefined && {dstPort})}},
    filter: {orig: compares.protocol | (dstPort === undefined ? 0 : compares.dstPort), reply: 0},
  };
}

/** Makes the kernel forget a connection; tells whether it was there. The next packet is looked at like a first one. */
export async function removeConnection(
  socket: Netlink,
  {family, protocol, orig, zone, id}: Connection,
): Promise<boolean> {
  const {src, dst, srcPort, dstPort} = orig;
  try {
    await socket.request({
      type: (subsystem << 8) | messages.delete,
      what: `forget connection ${formatIp(src)}:${srcPort} to ${formatIp(dst)}:${dstPort}`,
      body: (w) =>
        putMessage(w, family, {
          orig: {
            addresses: familyOf(src) === 4 ? {v4src: src, v4dst: dst} : {v6src: src, v6dst: dst},
            ports: {protocol, srcPort, dstPort},
          },
          id,
          zone: zone === 0 ? undefined : zone,
        }),
    });
    return true;
  } catch (error) {
    if (isNotFound(error)) return false;
    throw error;
  }
}

function putMessage(w: Writer, family: Family, attributes: Attributes): void {
  w.append(Uint8Array.of(addressFamilies[family], 0, 0, 0));
  conntrackAttributes.put(w, attributes);
}

function readConnection(family: Family, {orig, reply, zone = 0, id = 0}: Attributes): Connection | undefined {
  const [first, answer] = [readTuple(orig), readTuple(reply)];
  const protocol = orig?.ports?.protocol;
  if (!first || !answer || protocol === undefined) return undefined;
  return {family, protocol, orig: first, reply: answer, zone, id};
}

function readTuple(value: Values<typeof tuple.table> | undefined): Tuple | undefined {
  const src = value?.addresses?.v4src ?? value?.addresses?.v6src;
  const dst = value?.addresses?.v4dst ?? value?.addresses?.v6dst;
  if (!src || !dst) return undefined;
  return {src, dst, srcPort: value?.ports?.srcPort ?? 0, dstPort: value?.ports?.dstPort ?? 0};
}
