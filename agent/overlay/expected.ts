import {familyOf, ipBytes, type Ip} from '../../lib/ip/address.ts';
import {macBytes} from '../../lib/ip/mac.ts';
import {neighbourFlag, neighbourState} from '../../lib/netlink/route/neighbour.ts';
import {afBridge, rtm} from '../../lib/netlink/route/socket.ts';
import type {Reply} from '../../lib/netlink/message.ts';
import type {Desired, PeerState} from '../../lib/overlay/state.ts';
import type {Delta} from './delta.ts';

/** What a change that the kernel tells of means for a network. */
export type Meaning = 'nothing' | 'contradiction';

// linux/neighbour.h and linux/rtnetlink.h: NDA_DST, NDA_LLADDR; RTA_DST, RTA_OIF, RTA_GATEWAY
const neighbour = {header: 12, dst: 1, lladdr: 2};
// ndm_flags in struct ndmsg
const flagsAt = 10;
const route = {header: 12, dst: 1, oif: 4, gateway: 5};
const tableMain = 254;
const protocolKernel = 2;

/**
 * What the kernel should have of a network, for quick comparison with what it tells: most of it are echoes of what was
 * just done. Works on bytes, because thousands of messages come at once.
 */
export class Expected {
  readonly #indexes: ReadonlySet<number>;
  readonly #protocol: number;
  /** Link and address -> hardware address; link and hardware address -> far end; destination -> way. In hexadecimal. */
  readonly #entries = new Map<string, string>();

  readonly #devices: ReadonlyMap<string, number>;

  constructor(desired: Desired, devices: ReadonlyMap<string, number>) {
    this.#devices = devices;
    this.#indexes = new Set(devices.values());
    this.#protocol = desired.protocol;
    for (const state of desired.peers) this.#put(state);
  }

  /** Takes in what changes of some peers. */
  update({before, after}: Delta): void {
    for (const state of before) for (const [key] of this.#entriesOf(state)) this.#entries.delete(key);
    for (const state of after) this.#put(state);
  }

  #put(state: PeerState): void {
    for (const [key, value] of this.#entriesOf(state)) this.#entries.set(key, value);
  }

  #entriesOf({neighbours, ends, routes}: PeerState): (readonly [key: string, value: string])[] {
    const devices = this.#devices;
    return [
      ...neighbours.map(
        ({device, ip, mac}) => [`n${devices.get(device)} ${hex(ip)}`, macBytes(mac).toString('hex')] as const,
      ),
      ...ends.map(
        ({device, mac, to}) => [`e${devices.get(device)} ${macBytes(mac).toString('hex')}`, hex(to)] as const,
      ),
      ...routes.map(({dst, via, gateway}) => {
        const ifindex = 'device' in via ? devices.get(via.device) : via.ifindex;
        return [`r${hex(dst.ip)}/${dst.prefix}`, `${ifindex} ${hex(gateway)} ${this.#protocol}`] as const;
      }),
    ];
  }

  /** Judges RTM_NEWNEIGH, RTM_DELNEIGH, RTM_NEWROUTE and RTM_DELROUTE. */
  judge(reply: Reply): Meaning {
    switch (reply.type) {
      case rtm.newNeigh:
      case rtm.delNeigh:
        return this.#judgeNeighbour(reply) ? 'nothing' : 'contradiction';
      case rtm.newRoute:
      case rtm.delRoute:
        return this.#judgeRoute(reply) ? 'nothing' : 'contradiction';
      default:
        return 'nothing';
    }
  }

  /** Whether it is as it should be, or nothing to us. */
  #judgeNeighbour({type, buffer, start, end}: Reply): boolean {
    const ifindex = buffer.readInt32LE(start + 4);
    if (!this.#indexes.has(ifindex)) return true;
    const isEnd = buffer[start] === afBridge;
    // What a bridge knows of its port: it learns there what we set.
    if (isEnd && (buffer[start + flagsAt]! & neighbourFlag.self) === 0) return true;
    const first = start + neighbour.header;
    const ip = attribute(buffer, first, end, neighbour.dst) ?? '';
    const mac = attribute(buffer, first, end, neighbour.lladdr) ?? '';
    const key = isEnd ? `e${ifindex} ${mac}` : `n${ifindex} ${ip}`;
    const expected = this.#entries.get(key);
    const isPermanent = (buffer.readUInt16LE(start + 8) & neighbourState.permanent) !== 0;
    if (type === rtm.delNeigh) return expected === undefined || (isEnd && expected !== ip);
    // What nobody set is learned and goes by itself, unless it is in the place of what we set.
    if (expected === undefined) return !isPermanent;
    return isPermanent && expected === (isEnd ? ip : mac);
  }

  #judgeRoute({type, buffer, start, end}: Reply): boolean {
    const prefix = buffer[start + 1]!;
    const protocol = buffer[start + 5]!;
    if (buffer[start + 4] !== tableMain || protocol === protocolKernel) return true;
    const first = start + route.header;
    const oif = attributeNumber(buffer, first, end, route.oif);
    const dst = attribute(buffer, first, end, route.dst);
    const expected = dst === undefined ? undefined : this.#entries.get(`r${dst}/${prefix}`);
    const found = `${oif} ${attribute(buffer, first, end, route.gateway) ?? ''} ${protocol}`;
    if (type === rtm.delRoute) return expected !== found;
    if (expected !== undefined) return expected === found;
    // One of our marks or on our device that we did not make.
    return protocol !== this.#protocol || !this.#indexes.has(oif ?? 0);
  }
}

function hex(ip: Ip): string {
  // Half of the time of ipBytes().toString('hex') for IPv4.
  if (familyOf(ip) === 4) return Number(ip.value).toString(16).padStart(8, '0');
  return ipBytes(ip).toString('hex');
}

function attribute(buffer: Buffer, first: number, end: number, wanted: number): string | undefined {
  const at = findAttribute(buffer, first, end, wanted);
  return at < 0 ? undefined : buffer.toString('hex', at + 4, at + buffer.readUInt16LE(at));
}

function attributeNumber(buffer: Buffer, first: number, end: number, wanted: number): number | undefined {
  const at = findAttribute(buffer, first, end, wanted);
  return at < 0 || at + 8 > end ? undefined : buffer.readUInt32LE(at + 4);
}

// linux/netlink.h: NLA_TYPE_MASK
const typeMask = 0x3fff;

function findAttribute(buffer: Buffer, first: number, end: number, wanted: number): number {
  for (let at = first; at + 4 <= end;) {
    const length = buffer.readUInt16LE(at);
    if (length < 4 || at + length > end) return -1;
    if ((buffer.readUInt16LE(at + 2) & typeMask) === wanted) return at;
    at += (length + 3) & ~3;
  }
  return -1;
}
