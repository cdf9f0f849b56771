import type {Ip} from '../ip/address.ts';
import type {Cidr} from '../ip/cidr.ts';
import type {Conflict} from './claims.ts';
import type {DeviceSpec} from './device-spec.ts';
import type {Neighbour} from '../netlink/route/neighbour.ts';
import type {Route} from '../netlink/route/route.ts';
import type {OverlayNetwork} from './member.ts';

/** The part of the underlay that this host's tunnels use. */
export interface Carrier {
  readonly ifindex: number;
  readonly mtu: number;
  /** At most one per family; one that is not of the interface itself (of `lo`) needs `bind: false`. */
  readonly addresses: readonly Ip[];
  /** Whether tunnels are held to that interface (the default), or follow the routes. */
  readonly bind?: boolean | undefined;
}

/** What this host decides for itself. */
export interface LocalSettings {
  readonly carrier: Carrier;
  /** The MTU of the overlay; what fits into the underlay's unless given. */
  readonly mtu?: number | undefined;
  /** What encryption takes of every packet. */
  readonly cryptoBytes?: number | undefined;
  readonly df?: DeviceSpec['df'] | undefined;
  readonly udpChecksum?: boolean | undefined;
  /** RTPROT_* of routes and neighbours; 119 unless given. */
  readonly protocol?: number | undefined;
  /** Of `l2` networks: the bridge of the containers. */
  readonly bridge?: string | undefined;
  /** Peers reached without a tunnel, by underlay address: through which link (see direct.ts). */
  readonly direct?: ReadonlyMap<string, number> | undefined;
  /** Where a probe found less than the overlay's MTU on the way to a peer, by its id. */
  readonly pathMtu?: ReadonlyMap<string, number> | undefined;
}

/** A neighbour on a VTEP: the far VTEP behind a gateway address, or a container. */
export interface TunnelNeighbour {
  readonly device: string;
  readonly ip: Ip;
  readonly mac: string;
}

/** Where frames for a hardware address are sent; all zero: those for everybody. */
export interface TunnelEnd {
  readonly device: string;
  readonly mac: string;
  readonly to: Ip;
}

/** The route to a peer's subnet: through the tunnel (`device`), or plainly through a link. */
export interface PeerRoute {
  readonly dst: Cidr;
  readonly gateway: Ip;
  readonly via: {readonly device: string} | {readonly ifindex: number};
  readonly mtu?: number | undefined;
}

/** All that the kernel has to know of one peer. */
export interface PeerState {
  readonly peer: string;
  readonly neighbours: readonly TunnelNeighbour[];
  readonly ends: readonly TunnelEnd[];
  readonly routes: readonly PeerRoute[];
}

/** What the kernel shall have for one network. */
export interface Desired {
  readonly network: OverlayNetwork;
  readonly protocol: number;
  readonly devices: readonly DeviceSpec[];
  /** This host's own part of the network. */
  readonly subnets: readonly Cidr[];
  readonly peers: readonly PeerState[];
  /** Peers that were left out, and why. */
  readonly conflicts: readonly Conflict[];
  /** From where VXLAN packets of this network may come: the underlay addresses of those who take part. */
  readonly sources: readonly Ip[];
}

/** What the kernel has of one network. */
export interface Actual {
  /** The ifindex of each device by its name; one that is missing is not there. */
  readonly devices: ReadonlyMap<string, number>;
  /** The neighbours of those devices that somebody set. */
  readonly neighbours: readonly Neighbour[];
  /** The entries of their forwarding tables that somebody set. */
  readonly ends: readonly Neighbour[];
  /** Of the main table: those through the devices, those marked as the overlay's, and all to the network's ranges. */
  readonly routes: readonly Route[];
}
