import type {Host} from '../../lib/host.ts';
import {formatIp} from '../../lib/ip/address.ts';
import type {Membership as Members} from '../../lib/overlay/desired.ts';
import {findDirect} from '../../lib/overlay/direct.ts';
import type {Endpoint, Member} from '../../lib/overlay/member.ts';
import {segmentBridgeName} from '../../lib/overlay/segment-bridge.ts';
import type {Desired, LocalSettings} from '../../lib/overlay/state.ts';
import type {Membership, Snapshot} from '../membership/membership.ts';
import type {OverlayNetworkConf} from './conf.ts';
import type {Encryption} from './encryption.ts';
import type {EndpointWatch} from './endpoint-watch.ts';
import type {PeerKeeper} from './peers.ts';
import {advertisementOf, formatAdvertisement, planSelf} from './self.ts';
import type {Underlay} from './underlay.ts';

export interface PlannerParts {
  readonly node: string;
  readonly conf: OverlayNetworkConf;
  readonly host: Pick<Host, 'rt'>;
  readonly membership: Membership;
  readonly peers: PeerKeeper;
  readonly encryption: Encryption;
  readonly endpoints: EndpointWatch | undefined;
}

/** Works out what the kernel shall have, and tells the membership of this host on the way. */
export class NetworkPlanner {
  readonly #parts: PlannerParts;
  /** What was said last. */
  #advertised: string | undefined;
  /** Through which link peers are reached without a tunnel, by address; and for which it was asked. */
  #direct: ReadonlyMap<string, number> = new Map();
  #asked: ReadonlySet<string> = new Set();

  constructor(parts: PlannerParts) {
    this.#parts = parts;
  }

  /** This host's record as it is told to others; its subnets are what the membership gave, none before that. */
  planSelf(snapshot: Snapshot, underlay: Underlay): Member {
    const {node, conf, membership} = this.#parts;
    const self = planSelf({
      node,
      snapshot,
      underlay,
      publicAddresses: conf.underlay.publicAddresses,
      // etcd only gives back what it was told, maybe for another VNI.
      macs: membership.kind === 'etcd' ? undefined : snapshot.self?.macs,
      endpoints: this.#endpoints(snapshot),
      plan: (members) => this.#plan(members, underlay),
    });
    const advertisement = advertisementOf(self);
    const said = formatAdvertisement(advertisement);
    if (said !== this.#advertised) membership.advertise(advertisement);
    this.#advertised = said;
    return self;
  }

  /** What the kernel shall have; `full`: what was found out about ways before counts no more. */
  async plan(
    {
      snapshot,
      underlay,
      self,
    }: {readonly snapshot: Snapshot; readonly underlay: Underlay; readonly self: Member},
    kind: 'delta' | 'full',
  ): Promise<Desired> {
    const peers = this.#parts.peers.judge(snapshot);
    if (snapshot.network.directRouting) await this.#lookForDirect(peers, kind);
    return this.#plan({network: snapshot.network, self, peers}, underlay);
  }

  /** The bridge of an `l2` network. */
  bridge({vni}: Members['network']): string | undefined {
    const {form, bridge} = this.#parts.conf;
    return form === 'l2' ? (bridge ?? segmentBridgeName(vni)) : undefined;
  }

  /** Where a source cannot pass containers on, hosts have to ask each other: then there are none. */
  #endpoints({self}: Snapshot): readonly Endpoint[] | undefined {
    const {membership, endpoints} = this.#parts;
    return membership.kind === 'etcd' ? endpoints?.read() : self?.endpoints;
  }

  #plan(members: Members, {ifindex, mtu, addresses}: Underlay): Desired {
    const {conf, encryption} = this.#parts;
    const bridge = this.bridge(members.network);
    const local: LocalSettings = {
      carrier: {ifindex, mtu, addresses},
      ...(conf.mtu !== undefined && {mtu: conf.mtu}),
      ...(bridge !== undefined && {bridge}),
      direct: this.#direct,
    };
    return encryption.plan(members, local);
  }

  async #lookForDirect(peers: readonly Member[], kind: 'delta' | 'full'): Promise<void> {
    const addresses = peers.flatMap(({underlay}) => underlay);
    if (kind === 'delta' && addresses.every((ip) => this.#asked.has(formatIp(ip)))) return;
    this.#direct = await findDirect(this.#parts.host.rt, addresses);
    this.#asked = new Set(addresses.map(formatIp));
  }
}
