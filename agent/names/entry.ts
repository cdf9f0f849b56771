import type {Ip} from '../../lib/ip/address.ts';

/** A port that answers under a name, for SRV. */
export interface NamedPort {
  /** `http` of `_http._tcp`; absent where it has none. */
  readonly name?: string | undefined;
  readonly protocol: 'tcp' | 'udp' | 'sctp';
  readonly port: number;
}

/** Somebody that has names in a network: an attached container, here or on another host, or an instance of a service. */
export interface NameEntry {
  /** Tells it from all others of every source. */
  readonly key: string;
  readonly network: string;
  /** The container on this host; it sees the names of every network it is in. */
  readonly containerId?: string | undefined;
  /** Lower case, relative to the network: `web`, `web.default`. The first is its canonical name. */
  readonly names: readonly string[];
  readonly ips: readonly Ip[];
  readonly ports: readonly NamedPort[];
  readonly texts: readonly string[];
  /** Seconds that its records may be kept. */
  readonly ttl: number;
  /** Not among the answers while another of the same name is well. */
  readonly isCritical: boolean;
  readonly weight: number;
}

/** What the resolver knows of a network. */
export interface NamedNetwork {
  readonly name: string;
  /** The zone of its names, and of no other network's: `net1.weft.internal`. Lower case, no dot at the end. */
  readonly domain: string;
  /** Nothing beyond the network's own names is answered or asked for. */
  readonly isInternal: boolean;
  /** Where other names are asked for; none: what the host uses. */
  readonly upstreams: readonly string[];
}
