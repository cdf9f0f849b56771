import {familyOf, type Family, type Ip} from '../../ip/address.ts';
import {formatCidr, hostCidr, type Cidr} from '../../ip/cidr.ts';
import type {Endpoint, WireguardPeer} from '../../netlink/wireguard/device.ts';
import type {Membership} from '../desired.ts';
import type {Member} from '../member.ts';
import type {LocalSettings} from '../state.ts';
import {deriveVtepMac} from '../vtep-mac.ts';
import {
  deriveHostKeys,
  derivePresharedKey,
  tunnelAddress,
  tunnelPrefix,
  type HostKeys,
  type OverlaySecret,
} from './keys.ts';

/** A WireGuard device as it shall be: the underlay of an encrypted network, one for each secret. */
export interface SecureTunnel {
  readonly name: string;
  /** UDP port in the underlay. */
  readonly port: number;
  readonly mtu: number;
  /** Its address, with the prefix of all hosts'. */
  readonly address: Cidr;
  readonly keys: HostKeys;
  readonly peers: readonly (WireguardPeer & {readonly id: string; readonly endpoint: Endpoint})[];
}

/** An encrypted network, as one over another underlay. */
export interface EncryptedOverlay {
  /** For each secret; packets leave through the first and are taken from all. */
  readonly tunnels: readonly SecureTunnel[];
  /** The membership with the tunnel's addresses in the place of the underlay's: what the overlay is planned from. */
  readonly membership: Membership;
  readonly local: LocalSettings;
  /** From where VXLAN packets may come, through any of the tunnels. */
  readonly sources: readonly Ip[];
}

/** How a network is encrypted. */
export interface EncryptionOptions {
  /** The first is used, the others are understood; all hosts have them all before one is used. */
  readonly secrets: readonly OverlaySecret[];
  /** UDP port of the secret with id 0; the others' follow. */
  readonly port: number;
}

/** The default of `EncryptionOptions.port`: those behind WireGuard's usual one are taken by others. */
export const encryptionPort = 51_872;

// WireGuard's header and authentication, UDP, and IP (wireguard.com, "Packet layout").
const overhead: Readonly<Record<Family, number>> = {4: 32 + 8 + 20, 6: 32 + 8 + 40};

/** The name of the device of a network for a secret; fits into 15 bytes. */
export function tunnelName(vni: number, secretId: number): string {
  return `wg${vni}.${secretId}`;
}

/**
 * Puts WireGuard below an overlay. Keys follow from the secret, so that the membership has to carry none; they are derived
 * once for each member object.
 */
export class EncryptionPlanner {
  readonly #options: EncryptionOptions;
  /** Members as the overlay sees them, for the prefix of a secret. */
  readonly #members = new WeakMap<Member, {readonly prefix: string; readonly inside: Member}>();
  readonly #peers = new Map<string, WeakMap<Member, SecureTunnel['peers'][number]>>();

  constructor(options: EncryptionOptions) {
    if (options.secrets.length === 0) throw new Error('encryption needs a secret');
    this.#options = options;
  }

  plan({network, self, peers}: Membership, local: LocalSettings): EncryptedOverlay {
    const {secrets, port} = this.#options;
    const {carrier} = local;
    const families = carrier.addresses.map(familyOf);
    // The same for all peers, so that one MTU fits.
    const family = families.includes(4) ? 4 : 6;
    const mtu = carrier.mtu - overhead[family];
    const prefixes = secrets.map(({id}) => tunnelPrefix(network, id));
    const tunnels = secrets.map((secret, i): SecureTunnel => {
      const prefix = prefixes[i]!;
      return {
        name: tunnelName(network.vni, secret.id),
        port: port + secret.id,
        mtu,
        address: {ip: tunnelAddress(prefix, self.id), prefix: prefix.prefix},
        keys: deriveHostKeys(secret, network.name, self.id),
        peers: peers.flatMap((peer) => {
          const found = this.#peer(peer, {
            secret,
            prefixes: [prefix, ...prefixes.filter((other) => other !== prefix)],
            network: network.name,
            self: self.id,
            family,
          });
          return found ? [found] : [];
        }),
      };
    });
    const [primary] = tunnels as [SecureTunnel];
    const [prefix] = prefixes as [Cidr];
    const within = {prefix, text: formatCidr(prefix), vni: network.vni};
    const inside = (member: Member) => this.#inside(member, within);
    return {
      tunnels,
      membership: {
        network: {...network, directRouting: false},
        self: inside(self),
        peers: peers.map(inside),
      },
      local: {
        ...local,
        // Not held to a device: another secret's tunnel may take over without a new one.
        carrier: {ifindex: 0, mtu, addresses: [primary.address.ip], bind: false},
        direct: undefined,
      },
      sources: primary.peers.flatMap(({allowedIps}) => allowedIps.map(({ip}) => ip)),
    };
  }

  /** The member as the overlay sees it: at its address in the tunnel. */
  #inside(
    member: Member,
    {prefix, text, vni}: {readonly prefix: Cidr; readonly text: string; readonly vni: number},
  ): Member {
    const known = this.#members.get(member);
    if (known?.prefix === text) return known.inside;
    // Derived as the keys are: not every membership tells the one for IPv6.
    const macs = {6: deriveVtepMac({vni, node: member.id, family: 6})};
    const inside = {...member, underlay: [tunnelAddress(prefix, member.id)], macs};
    this.#members.set(member, {prefix: text, inside});
    return inside;
  }

  #peer(
    peer: Member,
    {
      secret,
      prefixes,
      network,
      self,
      family,
    }: {
      readonly secret: OverlaySecret;
      readonly prefixes: readonly Cidr[];
      readonly network: string;
      readonly self: string;
      readonly family: Family;
    },
  ): SecureTunnel['peers'][number] | undefined {
    const key = `${secret.id} ${family} ${self}`;
    let known = this.#peers.get(key);
    if (!known) this.#peers.set(key, (known = new WeakMap()));
    const before = known.get(peer);
    if (before) return before;
    const ip = peer.underlay.find((each) => familyOf(each) === family) ?? peer.underlay[0];
    if (!ip) return undefined;
    const found = {
      id: peer.id,
      publicKey: deriveHostKeys(secret, network, peer.id).publicKey,
      presharedKey: derivePresharedKey(secret, network, [self, peer.id]),
      endpoint: {ip, port: this.#options.port + secret.id},
      // In every tunnel all of its addresses: a host that changes to another secret sends, for a moment, by one tunnel under
      // its address in the other.
      allowedIps: prefixes.map((prefix) => hostCidr(tunnelAddress(prefix, peer.id))),
    };
    known.set(peer, found);
    return found;
  }
}
