import {familyOf, formatIp, parseIp} from '../../../lib/ip/address.ts';
import {formatCidr, overlap, type Cidr} from '../../../lib/ip/cidr.ts';
import {parseMac} from '../../../lib/ip/mac.ts';
import type {Endpoint, Member, OverlayNetwork} from '../../../lib/overlay/member.ts';
import {parseLease, parseLeaseKey, type Lease} from './flannel-lease.ts';
import {objectOf, parseAliveRecord, type Layout} from './layout.ts';
import type {KeyValue} from '../../etcd/wire.ts';

/** A lease of the network: the key says the subnets, the value who has them. */
export interface Claim {
  /** The last part of its key. */
  readonly name: string;
  readonly kv: KeyValue;
  readonly subnets: readonly Cidr[];
  /** Undefined for a value that cannot be read: the subnets are taken all the same. */
  readonly lease: Lease | undefined;
}

// Read once for each value: a network may have thousands, and one of them changes.
const claims = new WeakMap<KeyValue, Claim | undefined>();

/** All subnets that somebody has, in the order of the keys in the store. */
export function listClaims(entries: ReadonlyMap<string, KeyValue>, layout: Layout): readonly Claim[] {
  const found: Claim[] = [];
  for (const kv of entries.values()) {
    let claim = claims.get(kv);
    if (claim === undefined && !claims.has(kv)) claims.set(kv, (claim = claimOf(kv, layout)));
    if (claim !== undefined) found.push(claim);
  }
  return found;
}

function claimOf(kv: KeyValue, layout: Layout): Claim | undefined {
  const parsed = layout.parse(kv.key);
  if (parsed?.kind !== 'subnets') return undefined;
  const subnets = parseLeaseKey(parsed.rest);
  return subnets && {name: parsed.rest, kv, subnets, lease: parseLease(kv.value)};
}

/** Who a claim belongs to, for people. */
export function ownerOf({lease}: Claim): string {
  const ips = lease?.underlay.map(formatIp).join(', ') || 'unknown address';
  return lease?.id === undefined ? `a host at ${ips}` : `${lease.id} at ${ips}`;
}

// Who is not there is younger than everybody who is: what it claims belongs to those who took its place.
const away = 2 ** 52;

/**
 * The hosts that claims and what hangs on them describe. A claim without a hardware address (a reservation, another
 * backend) is nobody that could be reached.
 */
export function membersOf(
  entries: ReadonlyMap<string, KeyValue>,
  {
    layout,
    form,
    exclude,
  }: {
    readonly layout: Layout;
    readonly form: OverlayNetwork['form'];
    readonly exclude: (claim: Claim) => boolean;
  },
): readonly Member[] {
  const endpoints = form === 'l2' ? listEndpoints(entries, layout) : undefined;
  return listClaims(entries, layout)
    .filter((claim) => !exclude(claim))
    .flatMap(({name, kv, subnets, lease}) => {
      if (lease === undefined || lease.backend !== 'vxlan' || lease.underlay.length === 0) return [];
      if (lease.macs[4] === undefined && lease.macs[6] === undefined) return [];
      const {id, underlay, macs, mtu} = lease;
      // Only our own say whether they are there.
      const isAway = id !== undefined && !entries.has(layout.alive(id));
      const own = id === undefined ? undefined : endpoints?.get(id);
      const known = members.get(kv);
      if (known !== undefined && known.isAway === isAway && own === undefined) return [known.member];
      const seniority = kv.createRevision + (isAway ? away : 0);
      const member = {id: id ?? name, underlay, subnets, macs, mtu, ...(own && {endpoints: own}), seniority};
      if (own === undefined) members.set(kv, {isAway, member});
      return [member];
    });
}

// The same record stays the same object, so that who compares snapshots is quick.
const members = new WeakMap<KeyValue, {readonly isAway: boolean; readonly member: Member}>();

function listEndpoints(
  entries: ReadonlyMap<string, KeyValue>,
  layout: Layout,
): ReadonlyMap<string, readonly Endpoint[]> {
  const found = new Map<string, Endpoint[]>();
  for (const {key, value} of entries.values()) {
    const parsed = layout.parse(key);
    if (parsed?.kind !== 'endpoints') continue;
    const endpoint = parseEndpoint(value);
    if (endpoint === undefined) continue;
    const id = decodeURIComponent(parsed.rest.split('/')[0] ?? '');
    const list = found.get(id);
    if (list === undefined) found.set(id, [endpoint]);
    else list.push(endpoint);
  }
  return found;
}

export function formatEndpoint({ips, mac}: Endpoint): string {
  return JSON.stringify({ips: ips.map(formatIp), mac});
}

function parseEndpoint(value: string): Endpoint | undefined {
  const {ips, mac} = objectOf(value);
  if (!Array.isArray(ips) || typeof mac !== 'string') return undefined;
  const known = ips.map((ip) => parseIp(String(ip))).filter((ip) => ip !== undefined);
  const address = parseMac(mac);
  return known.length === 0 || address === undefined ? undefined : {ips: known, mac: address};
}

/** Subnets of hosts that are away and will want theirs back: they have a record, but no claim at the moment. */
export function sparedSubnets(
  entries: ReadonlyMap<string, KeyValue>,
  {layout, own}: {readonly layout: Layout; readonly own: string},
): readonly Cidr[] {
  return [...entries.values()].flatMap(({key, value}) => {
    if (key === own || layout.parse(key)?.kind !== 'nodes') return [];
    const {subnet} = objectOf(value);
    return typeof subnet === 'string' ? (parseLeaseKey(subnet) ?? []) : [];
  });
}

/** Another host that runs under our id: same name, other kernel, other address. */
export function findTwin(
  entries: ReadonlyMap<string, KeyValue>,
  {layout, id, boot, publicIPs}: {layout: Layout; id: string; boot: string; publicIPs: readonly string[]},
): string | undefined {
  const alive = parseAliveRecord(entries.get(layout.alive(id))?.value);
  if (alive === undefined || alive.boot === boot || alive.publicIPs.some((ip) => publicIPs.includes(ip)))
    return undefined;
  return alive.publicIPs.join(', ') || 'unknown address';
}

/** The older of the claims that have an address in common with ours, whose key is another. */
export function findElder(claim: Claim, all: readonly Claim[]): Claim | undefined {
  return all.find(
    (other) =>
      other.name !== claim.name &&
      other.kv.createRevision < claim.kv.createRevision &&
      other.subnets.some((subnet) => claim.subnets.some((own) => overlap(own, subnet))),
  );
}

/** "10.5.52.0/24, fd00:5:34::/64" */
export function formatSubnets(subnets: readonly Cidr[]): string {
  return [...subnets]
    .sort((a, b) => familyOf(a.ip) - familyOf(b.ip))
    .map(formatCidr)
    .join(', ');
}
