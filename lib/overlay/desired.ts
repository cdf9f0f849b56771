import {familyOf, formatIp, type Family} from '../ip/address.ts';
import {hostCidr, networkOf, type Cidr} from '../ip/cidr.ts';
import {settleClaims, type Conflict} from './claims.ts';
import {deviceAlias, deviceName, overlayMtu, overlayProtocol, type DeviceSpec} from './device-spec.ts';
import type {Member, OverlayNetwork} from './member.ts';
import {planEndpoints} from './segment.ts';
import type {
  Carrier,
  Desired,
  LocalSettings,
  PeerRoute,
  PeerState,
  TunnelEnd,
  TunnelNeighbour,
} from './state.ts';
import {findWay, whyNoWay} from './way.ts';

/** What follows from a membership: pure, and quick enough for thousands of peers at every change. */
export function planDesired(
  membership: {
    readonly network: OverlayNetwork;
    readonly self: Member;
    readonly peers: readonly Member[];
  },
  local: LocalSettings,
): Desired {
  const {network, self} = membership;
  const {peers, conflicts} = settleClaims(network, self, membership.peers);
  const devices = planDevices(network, self, local);
  const {states, conflicts: more} =
    network.form === 'l2'
      ? planEndpoints(self, peers, devices)
      : planSubnets({network, self, peers}, devices, local);
  return {
    network,
    protocol: local.protocol ?? overlayProtocol,
    devices,
    peers: states,
    conflicts: [...conflicts, ...more],
    sources: peers.flatMap(({underlay}) => underlay),
  };
}

/** The families of underlay that get a device: that of each overlay range, where this host has it. */
function deviceFamilies({form, ranges}: OverlayNetwork, {addresses}: Carrier): readonly Family[] {
  const has = ([4, 6] as const).filter((family) => addresses.some((ip) => familyOf(ip) === family));
  // A segment is one: frames of both families go the same way.
  if (form === 'l2') return has.slice(0, 1);
  const wanted = new Set(ranges.map(({ip}) => familyOf(ip)));
  const own = has.filter((family) => wanted.has(family));
  return own.length > 0 ? own : has.slice(0, 1);
}

function planDevices(network: OverlayNetwork, self: Member, local: LocalSettings): readonly DeviceSpec[] {
  const {carrier} = local;
  const families = deviceFamilies(network, carrier);
  const isSegment = network.form === 'l2';
  return families.map((family): DeviceSpec => {
    const carried = self.subnets.filter(({ip}) => carriedBy(familyOf(ip), families) === family);
    return {
      name: deviceName(network.vni, family),
      vni: network.vni,
      port: network.port,
      local: carrier.addresses.find((ip) => familyOf(ip) === family)!,
      link: carrier.bind === false ? undefined : carrier.ifindex,
      mtu: overlayMtu({
        underlayMtu: carrier.mtu,
        family,
        wanted: local.mtu,
        cryptoBytes: local.cryptoBytes ?? 0,
      }),
      mac: self.macs[family] ?? missingMac(self, family),
      learning: isSegment && self.endpoints === undefined,
      proxy: isSegment && self.endpoints !== undefined,
      df: local.df ?? 'inherit',
      udpChecksum: local.udpChecksum ?? true,
      // One address without a subnet: what the host itself sends to containers comes from there.
      addresses: isSegment ? [] : carried.map((subnet) => hostCidr(networkOf(subnet))),
      bridge: isSegment ? local.bridge : undefined,
      alias: deviceAlias(network.name),
    };
  });
}

function missingMac({id}: Member, family: Family): never {
  throw new Error(`${id} has no hardware address for its VTEP over IPv${family}; derive one (vtep-mac.ts)`);
}

/** Over which underlay the packets of a family go: their own where there is one. */
function carriedBy(family: Family, families: readonly Family[]): Family | undefined {
  return families.includes(family) ? family : families[0];
}

interface Membership {
  readonly network: OverlayNetwork;
  readonly self: Member;
  readonly peers: readonly Member[];
}

function planSubnets(
  {network, self, peers}: Membership,
  devices: readonly DeviceSpec[],
  local: LocalSettings,
): {readonly states: readonly PeerState[]; readonly conflicts: readonly Conflict[]} {
  const conflicts: Conflict[] = [];
  const families = new Set(self.subnets.map(({ip}) => familyOf(ip)));
  const states = peers.map((peer): PeerState => {
    const neighbours: TunnelNeighbour[] = [];
    const ends: TunnelEnd[] = [];
    const routes: PeerRoute[] = [];
    for (const dst of peer.subnets) {
      // Without a subnet of that family there is nobody here to send from.
      if (!families.has(familyOf(dst.ip))) continue;
      const direct = network.directRouting ? findDirect(dst, peer, local) : undefined;
      if (direct) {
        routes.push(direct);
        continue;
      }
      const device = findWay(peer, familyOf(dst.ip), devices);
      if (!device) {
        conflicts.push({kind: 'unreachable', value: whyNoWay(peer, devices), peer: peer.id});
        continue;
      }
      const {name, mac, to} = device;
      const gateway = networkOf(dst);
      neighbours.push({device: name, ip: gateway, mac});
      if (!ends.some((end) => end.device === name)) ends.push({device: name, mac, to});
      routes.push({dst, gateway, via: {device: name}, mtu: mtuTo(peer, device.mtu, local)});
    }
    return {peer: peer.id, neighbours, ends, routes};
  });
  return {states, conflicts};
}

/** The route that a peer on the same segment needs, of the family of its underlay address. */
function findDirect(dst: Cidr, {underlay}: Member, {direct}: LocalSettings): PeerRoute | undefined {
  const gateway = underlay.find((ip) => familyOf(ip) === familyOf(dst.ip));
  const ifindex = gateway && direct?.get(formatIp(gateway));
  return gateway && ifindex !== undefined ? {dst, gateway, via: {ifindex}} : undefined;
}

/** What a packet to this peer may have; `undefined` where that is what the device says. */
function mtuTo(peer: Member, deviceMtu: number, {pathMtu}: LocalSettings): number | undefined {
  const least = Math.min(peer.mtu ?? Infinity, pathMtu?.get(peer.id) ?? Infinity);
  return least < deviceMtu ? least : undefined;
}
