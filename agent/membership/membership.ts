import type {Logger} from '../../lib/log.ts';
import type {Ip} from '../../lib/ip/address.ts';
import type {Cidr} from '../../lib/ip/cidr.ts';
import type {Member, OverlayNetwork} from '../../lib/overlay/member.ts';

/** The hosts of a network as a membership knows them at one moment: always whole, never a difference. */
export interface Snapshot {
  readonly network: OverlayNetwork;
  /** Our own record with the subnets that are ours; undefined while we have none. */
  readonly self: Member | undefined;
  /** All others. */
  readonly peers: readonly Member[];
  /** What the source calls this state (a revision, a resource version, a content hash). */
  readonly revision: string;
  /** Addresses of this host that the source asks to be used as the underlay (Kubernetes: node-public-ip). */
  readonly wantedUnderlay?: readonly Ip[] | undefined;
}

/**
 * `starting`: no snapshot yet. `ready`: the source answers. `stale`: it does not, the last snapshot stands.
 * `conflict`: what was ours belongs to another; nothing is given up, and no new containers are taken.
 */
export interface MembershipState {
  readonly kind: 'starting' | 'ready' | 'stale' | 'conflict';
  /** Why it is not ready, and what to do. */
  readonly reason?: string | undefined;
}

/** What a host says of itself: everything of its record but the subnets, which the membership gives. */
export type Advertisement = Omit<Member, 'id' | 'subnets' | 'seniority'>;

export interface MembershipEvents {
  /** Called with every change, in order; calls are never concurrent with one another. */
  onSnapshot(snapshot: Snapshot): void;
  onState(state: MembershipState): void;
}

/**
 * Where the hosts of an overlay learn of each other: one file per kind of source (static file, etcd, Kubernetes). It keeps
 * itself connected, publishes what `advertise` last said, and calls back; it never throws at its user for an outage.
 */
export interface Membership {
  readonly kind: string;
  readonly state: MembershipState;
  /** Seconds until what is ours would be another's, if nothing renewed it; undefined where there is no such end. */
  readonly leaseLeftS?: number | undefined;
  /** Begins to connect; returns at once. */
  start(events: MembershipEvents): void;
  /** Says what peers shall know of us. Repeated calls with the same content cost nothing. */
  advertise(self: Advertisement): void;
  /** Tells the source whether this host's overlay works, where it can be told (Kubernetes: NetworkUnavailable). */
  setReady(ready: boolean): void;
  /** Reads again what lies in files: a description, certificates, passwords, tokens. */
  reload(): void;
  /** Asks the source again for everything, where it can: before many peers are given up. */
  relist(): Promise<Snapshot | undefined>;
  /** Disconnects; our record stays. */
  close(): Promise<void>;
}

/** What every kind of membership is made with. */
export interface MembershipContext {
  /** Our identity among the members. */
  readonly nodeId: string;
  readonly network: Pick<OverlayNetwork, 'name' | 'form'>;
  readonly log: Logger;
  /** What this host had before, for a source that has forgotten it: from an old subnet file. */
  readonly previousSubnets?: readonly Cidr[] | undefined;
}
