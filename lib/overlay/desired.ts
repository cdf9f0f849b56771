import {familyOf, formatIp, type Family} from '../ip/address.ts';
import {formatCidr, hostCidr, networkOf} from '../ip/cidr.ts';
import {settleClaims, type Conflict} from './claims.ts';
import {deviceAlias, deviceName, overlayMtu, overlayProtocol, type DeviceSpec} from './device-spec.ts';
import type {Member, OverlayNetwork} from './member.ts';
import {planEndpoints} from './segment.ts';
import type {Carrier, Desired, LocalSettings, PeerState} from './state.ts';
import {planSubnets} from './subnets.ts';

/** What a network is made of at one moment. */
export interface Membership {
  readonly network: OverlayNetwork;
  readonly self: Member;
  readonly peers: readonly Member[];
}

/** What follows from a membership: pure. */
export function planDesired(membership: Membership, local: LocalSettings): Desired {
  return new OverlayPlanner().plan(membership, local);
}

/**
 * As `planDesired`, for a network that is planned again and again: what follows from a member that is the same object as
 * before, is the same object as well: a change of one among thousands costs little.
 */
export class OverlayPlanner {
  #key: readonly unknown[] = [];
  #states = new WeakMap<Member, PeerState>();

  plan(membership: Membership, local: LocalSettings): Desired {
    const {network, self} = membership;
    const {peers, conflicts} = settleClaims(network, self, membership.peers);
    const devices = planDevices(network, self, local);
    this.#forgetUnless([local.direct, local.pathMtu, keyOf(membership, devices)]);
    const more: Conflict[] = [];
    const report = (conflict: Conflict) => more.push(conflict);
    const context = {network, self, peers, devices, local, known: this.#states, report};
    const states = network.form === 'l2' ? planEndpoints(context) : planSubnets(context);
    return {
      network,
      protocol: local.protocol ?? overlayProtocol,
      devices,
      subnets: self.subnets,
      peers: states,
      conflicts: [...conflicts, ...more],
      sources: peers.flatMap(({underlay}) => underlay),
    };
  }

  #forgetUnless(key: readonly unknown[]): void {
    if (key.every((part, i) => part === this.#key[i])) return;
    this.#key = key;
    this.#states = new WeakMap();
  }
}

/** What every member's state follows from, beside the member. */
function keyOf({network, self}: Membership, devices: readonly DeviceSpec[]): string {
  return JSON.stringify([
    network.form,
    network.directRouting,
    self.endpoints === undefined,
    self.subnets.map(formatCidr),
    devices.map(({name, mtu, local}) => [name, mtu, formatIp(local)]),
  ]);
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
