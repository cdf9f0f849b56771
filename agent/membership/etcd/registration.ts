import {familyOf, formatIp, sameIp} from '../../../lib/ip/address.ts';
import {containsIp, type Cidr} from '../../../lib/ip/cidr.ts';
import type {Logger} from '../../../lib/log.ts';
import type {Advertisement} from '../membership.ts';
import {areFree, chooseSubnets, fits} from './choose.ts';
import type {EtcdClient} from '../../etcd/client.ts';
import {ConflictError, conflictOf} from './conflict.ts';
import {planEndpoints} from './endpoint-keys.ts';
import type {FlannelConfig} from '../flannel-config.ts';
import {formatLease, formatLeaseKey, parseLeaseKey} from './flannel-lease.ts';
import {parseNodeRecord, type Layout} from './layout.ts';
import type {KeptLease} from '../../etcd/lease.ts';
import {
  findElder,
  findTwin,
  formatSubnets,
  listClaims,
  ownerOf,
  sparedSubnets,
  type Claim,
} from './members.ts';
import type {Store} from '../../etcd/store.ts';
import type {Compare, Operation} from '../../etcd/wire.ts';
import {LostRaceError, Writer} from './writer.ts';

export interface RegistrationOptions {
  readonly client: EtcdClient;
  readonly store: Store;
  readonly layout: Layout;
  readonly nodeId: string;
  readonly boot: string;
  readonly previousSubnets: readonly Cidr[];
  /** For the subnets, and what hangs on them. */
  readonly lease: KeptLease;
  /** For the sign of life; none where that is switched off. */
  readonly aliveLease: KeptLease | undefined;
  readonly log: Logger;
  readonly random: () => number;
}

// Hosts that start together lose races to each other; each time there is one host less to lose to.
const mostRaces = 100;
// etcd refuses more than 128 operations in a transaction.
const mostOperations = 100;

/** Our own keys in the store: finds or takes subnets, and makes the keys say what we want to say. Level-triggered. */
export class Registration {
  readonly #options: RegistrationOptions;
  readonly #writer: Writer;
  /** The last part of the key of our subnets, once we have them: they are never exchanged for others while we run. */
  #name: string | undefined;

  constructor(options: RegistrationOptions) {
    this.#options = options;
    this.#writer = new Writer(options);
  }

  /** Our subnets, whether or not the store knows it at the moment. */
  get subnets(): readonly Cidr[] | undefined {
    return this.#name === undefined ? undefined : parseLeaseKey(this.#name);
  }

  /** What the store calls them. */
  get name(): string | undefined {
    return this.#name;
  }

  isOwn(claim: Claim): boolean {
    return claim.name === this.#name || claim.lease?.id === this.#options.nodeId;
  }

  /**
   * Brings the store to what `self` says; writes nothing when it is there already. Throws ConflictError, or whatever kept
   * it from being done.
   */
  async ensure(self: Advertisement, config: FlannelConfig): Promise<void> {
    for (let races = 0; ; races++) {
      try {
        const claim = await this.#ensureClaim(self, config);
        await this.#ensureAlive(self);
        await this.#ensureEndpoints(self, claim);
        return;
      } catch (error) {
        if (!(error instanceof LostRaceError) || races === mostRaces) throw error;
      }
    }
  }

  async #ensureClaim(self: Advertisement, config: FlannelConfig): Promise<Claim> {
    const {store, layout, nodeId, lease, log} = this.#options;
    const claims = listClaims(store.entries, layout);
    const own = this.#findOwn(self, claims);
    if (own === undefined) return this.#create(this.#choose(config, claims), self, config);
    this.#checkInside(typeof own === 'string' ? own : own.name, config);
    if (typeof own === 'string') {
      const subnets = parseLeaseKey(own)!;
      const other = claims.find((claim) => !areFree(subnets, claim.subnets));
      if (other !== undefined)
        throw this.#conflict(own, `${formatSubnets(other.subnets)} belongs to ${ownerOf(other)}`);
      log.debug({subnets: own}, 'the store has lost our subnets; they are taken again');
      return this.#create(own, self, config);
    }
    if (this.#name === undefined) log.info({subnets: own.name}, 'subnets are those of before');
    this.#name = own.name;
    const elder = findElder(own, claims);
    if (elder !== undefined)
      throw this.#conflict(
        own.name,
        `${formatSubnets(elder.subnets)} belongs to ${ownerOf(elder)}, who was first`,
      );
    const grown = this.#grow(own, config, claims);
    if (grown !== undefined) return this.#replace(own, grown, self, config);
    const record = this.#recordOf(own.name);
    // A reservation stays one: it has no lease, and no end.
    const isReserved = own.kv.lease === '0';
    if (!isReserved && lease.id === undefined) await lease.adopt(own.kv.lease);
    const wanted = isReserved ? '0' : await lease.ensure();
    const value = formatLease(self, {vni: config.vni, id: nodeId});
    if (own.kv.value === value && own.kv.lease === wanted && record === undefined) return own;
    const key = layout.subnet(own.name);
    const written = await this.#writer.write(
      [{key, modRevision: own.kv.modRevision}, ...(record ? [record.compare] : [])],
      [{put: key, value, lease: wanted}, ...(record ? [record.put] : [])],
    );
    return {...own, kv: written.get(key)!};
  }

  #checkInside(name: string, {divisions}: FlannelConfig): void {
    const outside = (parseLeaseKey(name) ?? []).find(
      ({ip}) => !divisions.some(({range}) => containsIp(range, ip)),
    );
    if (outside === undefined) return;
    const whole = formatSubnets(divisions.map(({range}) => range));
    throw this.#conflict(name, `${formatSubnets([outside])} is outside the network, which is ${whole} now`);
  }

  /** Our claim; or the name of one that was ours and is not there; or nothing: we never had any. */
  #findOwn(self: Advertisement, claims: readonly Claim[]): Claim | string | undefined {
    const {store, layout, nodeId, boot} = this.#options;
    // Also while we run: two that start together find out about each other only then.
    const publicIPs = self.underlay.map(formatIp);
    const twin = findTwin(store.entries, {layout, id: nodeId, boot, publicIPs});
    if (twin !== undefined)
      throw new ConflictError(
        `a host at ${twin} runs under the name ${nodeId} too; give each a name of its own (overlay.node)`,
      );
    const isOurs = ({lease}: Claim) =>
      lease !== undefined &&
      (lease.id === nodeId || (lease.id === undefined && this.#isOfFlannelHere(lease, self)));
    const name = this.#name ?? parseNodeRecord(store.entries.get(layout.node(nodeId))?.value)?.subnet;
    if (name !== undefined && parseLeaseKey(name) !== undefined) {
      const there = claims.find((claim) => claim.name === name);
      if (there === undefined) return name;
      if (isOurs(there)) return there;
      throw this.#conflict(name, `it belongs to ${ownerOf(there)}`);
    }
    return claims.find(({lease}) => lease?.id === nodeId) ?? claims.find(isOurs);
  }

  /** A record of flannel's, or a reservation, for this very host: it has one of our addresses. */
  #isOfFlannelHere({underlay, backend}: NonNullable<Claim['lease']>, self: Advertisement): boolean {
    if (backend !== 'vxlan' && backend !== '') return false;
    return underlay.some((ip) => self.underlay.some((own) => sameIp(ip, own)));
  }

  #choose(config: FlannelConfig, claims: readonly Claim[]): string {
    const {store, layout, nodeId, previousSubnets, random} = this.#options;
    const taken = claims.flatMap(({subnets}) => subnets);
    if (fits(config, previousSubnets) && areFree(previousSubnets, taken))
      return formatLeaseKey(previousSubnets);
    const spared = sparedSubnets(store.entries, {layout, own: layout.node(nodeId)});
    const chosen = chooseSubnets(config, {taken, spared}, random);
    if (chosen === undefined)
      throw new Error(
        `no subnet is free of ${config.divisions.map(({range}) => formatSubnets([range])).join(', ')}: ` +
          `${claims.length} are taken; widen Network, or remove hosts that are gone from ${layout.root}subnets`,
      );
    return formatLeaseKey(chosen);
  }

  async #create(name: string, self: Advertisement, config: FlannelConfig): Promise<Claim> {
    const {layout, nodeId, lease, log} = this.#options;
    const key = layout.subnet(name);
    const subnets = parseLeaseKey(name)!;
    const value = formatLease(self, {vni: config.vni, id: nodeId});
    const record = this.#recordOf(name);
    // Who divides the network in another way, or sees another network, must not have come in between.
    const guarded = subnets.length > 1 || !fits(config, subnets);
    // All by what is known now: while a lease is made, a host of our name may take subnets too.
    const compares = [
      {key, modRevision: 0},
      this.#unchanged(layout.config),
      ...(guarded ? [this.#unchanged(layout.guard)] : []),
      ...(record ? [record.compare] : []),
    ];
    const id = await lease.ensure();
    const written = await this.#writer.write(compares, [
      {put: key, value, lease: id},
      ...(guarded ? [{put: layout.guard, value: nodeId, lease: '0'}] : []),
      ...(record ? [record.put] : []),
    ]);
    this.#name = name;
    log.info({subnets: name}, 'subnets taken');
    return {name, subnets, kv: written.get(key)!, lease: undefined};
  }

  /** With a family that the network has got since: what we have stays, and one of the other comes to it. */
  #grow({subnets}: Claim, {divisions}: FlannelConfig, claims: readonly Claim[]): string | undefined {
    const missing = divisions.filter(
      ({range}) => !subnets.some(({ip}) => familyOf(ip) === familyOf(range.ip)),
    );
    if (missing.length === 0) return undefined;
    const {store, layout, nodeId, random} = this.#options;
    const taken = claims.flatMap((claim) => claim.subnets);
    const spared = sparedSubnets(store.entries, {layout, own: layout.node(nodeId)});
    const more = chooseSubnets({divisions: missing}, {taken, spared}, random);
    return more && formatLeaseKey([...subnets, ...more]);
  }

  async #replace(own: Claim, name: string, self: Advertisement, config: FlannelConfig): Promise<Claim> {
    const {layout, nodeId, lease, log} = this.#options;
    const [before, key] = [layout.subnet(own.name), layout.subnet(name)];
    const record = this.#recordOf(name);
    const written = await this.#writer.write(
      [
        {key: before, modRevision: own.kv.modRevision},
        {key, modRevision: 0},
        this.#unchanged(layout.config),
        this.#unchanged(layout.guard),
        ...(record ? [record.compare] : []),
      ],
      [
        {remove: before},
        {
          put: key,
          value: formatLease(self, {vni: config.vni, id: nodeId}),
          lease: own.kv.lease === '0' ? '0' : await lease.ensure(),
        },
        {put: layout.guard, value: nodeId, lease: '0'},
        ...(record ? [record.put] : []),
      ],
    );
    this.#name = name;
    log.info({before: own.name, subnets: name}, 'subnets of another family taken');
    return {name, subnets: parseLeaseKey(name)!, kv: written.get(key)!, lease: undefined};
  }

  /** That a key is still what we know of it. */
  #unchanged(key: string): Compare {
    return {key, modRevision: this.#options.store.entries.get(key)?.modRevision ?? 0};
  }

  /** What has to be written so that our record tells of `name`; undefined when it does. */
  #recordOf(name: string): {readonly compare: Compare; readonly put: Operation} | undefined {
    const {store, layout, nodeId} = this.#options;
    const key = layout.node(nodeId);
    const there = store.entries.get(key);
    const record = parseNodeRecord(there?.value);
    if (record?.subnet === name) return undefined;
    const value = JSON.stringify({subnet: name, since: record?.since ?? new Date().toISOString()});
    return {compare: {key, modRevision: there?.modRevision ?? 0}, put: {put: key, value, lease: '0'}};
  }

  async #ensureAlive(self: Advertisement): Promise<void> {
    const {store, layout, nodeId, boot, aliveLease} = this.#options;
    if (aliveLease === undefined) return;
    const key = layout.alive(nodeId);
    const there = store.entries.get(key);
    const value = JSON.stringify({boot, publicIPs: self.underlay.map(formatIp)});
    if (there?.value === value && aliveLease.id === undefined) await aliveLease.adopt(there.lease);
    const lease = await aliveLease.ensure();
    if (there?.value === value && there.lease === lease) return;
    await this.#writer.write([{key, modRevision: there?.modRevision ?? 0}], [{put: key, value, lease}]);
  }

  async #ensureEndpoints(self: Advertisement, {kv, name}: Claim): Promise<void> {
    const {store, layout, nodeId, lease} = this.#options;
    const there = [...store.entries.values()].filter(({key}) => key.startsWith(layout.endpoints(nodeId)));
    if (there.length === 0 && (self.endpoints ?? []).length === 0) return;
    const operations = planEndpoints(self.endpoints ?? [], there, {
      prefix: layout.endpoints(nodeId),
      lease: await lease.ensure(),
    });
    // Only who has the subnets speaks for what is in them.
    const compare = {key: layout.subnet(name), createRevision: kv.createRevision};
    for (let at = 0; at < operations.length; at += mostOperations)
      await this.#writer.write([compare], operations.slice(at, at + mostOperations));
  }

  #conflict(name: string, why: string): ConflictError {
    return conflictOf(name, why, this.#options);
  }
}
