/** A port that answers: `http` of `_http._tcp`, or one without a name. */
export interface Port {
  readonly name?: string | undefined;
  readonly protocol: 'tcp' | 'udp' | 'sctp';
  readonly port: number;
}

/** An attached container and its names, on this host or another. */
export interface NamedContainer {
  readonly key: string;
  /** The host it is on. */
  readonly node: string;
  readonly network: string;
  readonly containerId: string;
  /** The zone of the network's names. */
  readonly domain: string;
  /** Lower case, relative to the zone; the first is the canonical one. */
  readonly names: readonly string[];
  readonly ips: readonly string[];
  readonly ports: readonly Port[];
  readonly texts: readonly string[];
  /** Seconds that its records may be kept. */
  readonly ttl: number;
}

/** How an instance is: `warning` still answers, `critical` gets no connections. */
export type Health = 'passing' | 'warning' | 'critical';

/** Something that answers at an address and a port for a service. */
export interface ServiceInstance {
  /** `<namespace>/<id>@<node>`. */
  readonly key: string;
  readonly node: string;
  readonly namespace: string;
  /** The service's name. */
  readonly name: string;
  readonly id: string;
  /** The network whose containers see it; undefined: all. */
  readonly network?: string | undefined;
  readonly address: string;
  readonly port: number;
  readonly protocol: 'tcp' | 'udp' | 'sctp';
  readonly tags: readonly string[];
  readonly meta: Readonly<Record<string, string>>;
  /** 0 takes no new connections. */
  readonly weight: number;
  readonly health: Health;
  /** No new connections; those there are go on. */
  readonly draining: boolean;
  /** Measured by its checks. */
  readonly latencyMs?: number | undefined;
}

/** How connections to a service's address are spread over its instances. */
export type Policy = 'roundRobin' | 'random' | 'weighted' | 'sourceHash' | 'leastLatency';

/** A service that has an address of its own. Its instances are those of its name and namespace. */
export interface ServiceDefinition {
  /** `<namespace>/<name>`. */
  readonly key: string;
  readonly namespace: string;
  readonly name: string;
  readonly network?: string | undefined;
  /** Its addresses, at most one per family; none: its name leads to its instances. */
  readonly addresses: readonly string[];
  /** They were chosen for it, so that others will do as well. */
  readonly isAddressChosen?: boolean | undefined;
  /** Milliseconds since 1970 when it got them: of two services that have one address, the earlier keeps it. */
  readonly addressedAt?: number | undefined;
  readonly ports: readonly (Port & {
    /** The instances' port; their own where absent. */
    readonly targetPort?: number | undefined;
  })[];
  readonly policy: Policy;
  /** A client stays with its instance for so many seconds after its last connection; 0: not at all. */
  readonly stickySeconds: number;
  /** New connections per second that each source, and the service as a whole, may make. */
  readonly limitPerSource?: number | undefined;
  readonly limit?: number | undefined;
  /** Who may connect; undefined: everybody. */
  readonly sourceRanges?: readonly string[] | undefined;
  readonly ttl: number;
  /** Milliseconds since 1970: of two that two hosts said, the newer counts. */
  readonly updatedAt?: number | undefined;
}

/** Which of two services an address belongs to: every host that knows both says the same. */
export function isEarlier(service: ServiceDefinition, other: ServiceDefinition): boolean {
  const [at, otherAt] = [service.addressedAt ?? 0, other.addressedAt ?? 0];
  return at < otherAt || (at === otherAt && service.key < other.key);
}
