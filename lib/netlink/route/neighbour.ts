import {familyOf, formatIp, type Ip} from '../../ip/address.ts';
import {attrs, message} from '../attrs.ts';
import {ip, mac, s32, u16, u16be, u32, u8} from '../codec.ts';
import type {Writer} from '../writer.ts';
import {isNotFound} from '../error.ts';
import {Flag, type Request} from '../message.ts';
import {struct} from '../struct.ts';
import {afBridge, afInet, afInet6, afUnspec, rtm, type RouteSocket} from './socket.ts';

/** struct ndmsg of linux/neighbour.h. */
export const ndmsg = struct({family: u8, pad1: u8, pad2: u16, ifindex: s32, state: u16, flags: u8, type: u8});

/** linux/neighbour.h, enum NDA_*. */
export const neighbourAttributes = attrs({
  dst: [1, ip],
  lladdr: [2, mac],
  vlan: [5, u16],
  port: [6, u16be],
  vni: [7, u32],
  // The link through which the tunnel goes.
  via: [8, u32],
  master: [9, u32],
  // RTPROT_*: who made it; kernels before 5.0 pass over it.
  protocol: [12, u8],
});
export const neighbourMessage = message(ndmsg, neighbourAttributes);

/** NUD_*: a permanent entry is never asked for again, one with noArp never at all. */
export const neighbourState = {
  incomplete: 0x01,
  reachable: 0x02,
  stale: 0x04,
  delay: 0x08,
  probe: 0x10,
  failed: 0x20,
  noArp: 0x40,
  permanent: 0x80,
} as const;

/** NTF_* */
export const neighbourFlag = {use: 0x01, self: 0x02, master: 0x04, proxy: 0x08, router: 0x80} as const;

/** An entry of ARP or neighbour discovery (`ip` given), or of a forwarding table (`bridge`: `lladdr` is the key). */
export interface Neighbour {
  readonly ifindex: number;
  readonly ip?: Ip | undefined;
  readonly lladdr?: string | undefined;
  /** NUD_*; permanent unless given. */
  readonly state?: number | undefined;
  /** NTF_* */
  readonly flags?: number | undefined;
  /** The entry belongs to a forwarding table (AF_BRIDGE); `ip` is then the far end of a tunnel. */
  readonly bridge?: boolean | undefined;
  readonly vlan?: number | undefined;
  readonly port?: number | undefined;
  readonly vni?: number | undefined;
  /** RTPROT_*: who made it. */
  readonly protocol?: number | undefined;
}

/** The requests behind the functions below, for those who send many at once (lib/netlink/pipeline.ts). */
export const neighbourRequests = {
  set: (entry: Neighbour): Request => newNeighbour('set', entry, Flag.replace),
  add: (entry: Neighbour): Request => newNeighbour('add', entry, Flag.exclusive),
  append: (entry: Neighbour): Request => newNeighbour('add', entry, Flag.append),
  remove: (entry: Neighbour): Request => ({
    type: rtm.delNeigh,
    body: (w) => putNeighbour(w, entry),
    what: `remove neighbour ${label(entry)}`,
  }),
};

function newNeighbour(verb: string, entry: Neighbour, how: number): Request {
  return {
    type: rtm.newNeigh,
    flags: Flag.create | how,
    body: (w) => putNeighbour(w, entry),
    what: `${verb} neighbour ${label(entry)}`,
  };
}

/** Sets an entry, new or there already. */
export function ensureNeighbour(rt: RouteSocket, entry: Neighbour): Promise<void> {
  return rt.request(neighbourRequests.set(entry));
}

/** EEXIST if there is one; `append` adds a further destination to an entry of a forwarding table. */
export function addNeighbour(
  rt: RouteSocket,
  entry: Neighbour,
  {append = false}: {readonly append?: boolean} = {},
): Promise<void> {
  return rt.request(append ? neighbourRequests.append(entry) : neighbourRequests.add(entry));
}

/** Tells whether it was there. */
export async function removeNeighbour(rt: RouteSocket, entry: Neighbour): Promise<boolean> {
  try {
    await rt.request(neighbourRequests.remove(entry));
    return true;
  } catch (error) {
    if (isNotFound(error)) return false;
    throw error;
  }
}

/** The entries of a link or of all; of one family, both, or (`bridge`) the forwarding tables. */
export function listNeighbours(
  rt: RouteSocket,
  {ifindex, family}: {readonly ifindex?: number; readonly family?: 4 | 6 | 'bridge'} = {},
): Promise<Neighbour[]> {
  const families = {all: afUnspec, 4: afInet, 6: afInet6, bridge: afBridge};
  const wanted = families[family ?? 'all'];
  return rt.dump(
    {
      type: rtm.getNeigh,
      // For neighbours the kernel takes the link as an attribute, for forwarding tables in the header.
      body: (w) =>
        family === 'bridge'
          ? neighbourMessage.put(w, {header: {family: wanted, ifindex: ifindex ?? 0}})
          : neighbourMessage.put(w, {header: {family: wanted}, attributes: {via: ifindex}}),
      what: 'list neighbours',
    },
    ({buffer, start, end}) => {
      const {header, attributes: a} = neighbourMessage.get(buffer, start, end);
      if (ifindex !== undefined && header.ifindex !== ifindex) return undefined;
      return {
        ifindex: header.ifindex,
        ip: a.dst,
        lladdr: a.lladdr,
        state: header.state,
        flags: header.flags,
        bridge: header.family === afBridge,
        vlan: a.vlan,
        port: a.port,
        vni: a.vni,
        protocol: a.protocol,
      };
    },
  );
}

function label({ip, lladdr}: Neighbour): string {
  return [ip && formatIp(ip), lladdr].filter(Boolean).join(' ');
}

function putNeighbour(w: Writer, entry: Neighbour): void {
  const {
    ifindex,
    ip,
    lladdr,
    state = neighbourState.permanent,
    flags = 0,
    bridge,
    vlan,
    port,
    vni,
    protocol,
  } = entry;
  const family = bridge || !ip ? afBridge : familyOf(ip) === 4 ? afInet : afInet6;
  neighbourMessage.put(w, {
    header: {family, ifindex, state, flags},
    attributes: {protocol, dst: ip, lladdr, vlan, port, vni},
  });
}
