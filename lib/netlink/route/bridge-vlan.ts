import {attrs, message, repeated} from '../attrs.ts';
import {u16, u32} from '../codec.ts';
import {ifinfomsg} from '../link/common.ts';
import type {Reply} from '../message.ts';
import {struct} from '../struct.ts';
import {afBridge, rtm, type RouteSocket} from './socket.ts';

/** struct bridge_vlan_info of linux/if_bridge.h. */
const vlanInfo = struct({flags: u16, vid: u16});

// IFLA_AF_SPEC of AF_BRIDGE: linux/if_bridge.h, enum IFLA_BRIDGE_*
const spec = attrs({
  // 1 is the bridge a port belongs to, 2 the device itself.
  flags: [0, u16],
  vlans: [2, repeated(vlanInfo)],
});
export const vlanMessage = message(
  ifinfomsg,
  attrs({master: [10, u32], spec: [26, spec], extMask: [29, u32]}),
);

// linux/if_bridge.h, BRIDGE_VLAN_INFO_*
const info = {pvid: 0x02, untagged: 0x04, rangeBegin: 0x08, rangeEnd: 0x10};
const bridgeFlagsSelf = 2;
// linux/rtnetlink.h: vlans as ranges
const compressedVlans = 1 << 2;

/** VLANs `first` to `last`, both included, of a bridge port (or, `self`, of the bridge's own end). */
export interface VlanRange {
  readonly first: number;
  readonly last: number;
  /** Frames that come in without a tag belong to this VLAN; for single VLANs only. */
  readonly pvid?: boolean;
  /** Frames leave without their tag. */
  readonly untagged?: boolean;
}

export interface VlanPort {
  readonly ifindex: number;
  /** The link is the bridge itself. */
  readonly self?: boolean;
}

/** Lets VLANs through a port; those that it has get the flags given. */
export function addBridgeVlans(rt: RouteSocket, port: VlanPort, ranges: readonly VlanRange[]): Promise<void> {
  return change(rt, rtm.setLink, {port, ranges, verb: 'add'});
}

/** Takes VLANs off a port; those that it has not do not matter, so 1 to 4094 takes all. */
export function removeBridgeVlans(
  rt: RouteSocket,
  port: VlanPort,
  ranges: readonly VlanRange[],
): Promise<void> {
  return change(rt, rtm.delLink, {port, ranges, verb: 'remove'});
}

/** The VLANs of all ports and bridges of the namespace, by ifindex; a link without any is left out. */
export async function listBridgeVlans(rt: RouteSocket): Promise<Map<number, readonly VlanRange[]>> {
  const links = await rt.dump(
    {
      type: rtm.getLink,
      body: (w) => vlanMessage.put(w, {header: {family: afBridge}, attributes: {extMask: compressedVlans}}),
      what: 'list bridge VLANs',
    },
    readVlans,
  );
  return new Map(links);
}

function change(
  rt: RouteSocket,
  type: number,
  {
    port,
    ranges,
    verb,
  }: {readonly port: VlanPort; readonly ranges: readonly VlanRange[]; readonly verb: string},
): Promise<void> {
  const vlans = ranges.flatMap(({first, last, pvid, untagged}) => {
    const flags = (pvid ? info.pvid : 0) | (untagged ? info.untagged : 0);
    if (first === last) return [{flags, vid: first}];
    return [
      {flags: flags | info.rangeBegin, vid: first},
      {flags: flags | info.rangeEnd, vid: last},
    ];
  });
  const text = ranges.map(({first, last}) => (first === last ? `${first}` : `${first}-${last}`)).join(',');
  return rt.request({
    type,
    body: (w) =>
      vlanMessage.put(w, {
        header: {family: afBridge, ifindex: port.ifindex},
        attributes: {spec: {flags: port.self ? bridgeFlagsSelf : undefined, vlans}},
      }),
    what: `${verb} VLAN ${text} of bridge port ${port.ifindex}`,
  });
}

function readVlans({buffer, start, end}: Reply): [number, VlanRange[]] | undefined {
  const {header, attributes} = vlanMessage.get(buffer, start, end);
  const ranges: VlanRange[] = [];
  let first: number | undefined;
  for (const {flags, vid} of attributes.spec?.vlans ?? []) {
    if ((flags & info.rangeBegin) !== 0) {
      first = vid;
      continue;
    }
    ranges.push({
      first: first ?? vid,
      last: vid,
      pvid: (flags & info.pvid) !== 0,
      untagged: (flags & info.untagged) !== 0,
    });
    first = undefined;
  }
  return ranges.length === 0 ? undefined : [header.ifindex, ranges];
}
