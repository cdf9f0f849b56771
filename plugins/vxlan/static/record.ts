import {readdirSync, readFileSync, renameSync, writeFileSync} from 'node:fs';
import {join} from 'node:path';
import {ensureDirectory} from '../../../lib/files.ts';
import {formatIp} from '../../../lib/ip/address.ts';
import {formatCidr, parseCidr, type Cidr} from '../../../lib/ip/cidr.ts';
import type {Link} from '../../../lib/netlink/route/link.ts';
import type {VxlanPlaces} from '../conf.ts';
import type {HostNetwork} from '../render.ts';
import type {StaticPlan} from './datapath.ts';

/**
 * What the last full look at a network without agent found: <runDir>/static/<network>.json. As long as the description is the
 * same and the kernel still has a sample of it, there is nothing to do, however many hosts there are.
 */
export interface StaticRecord {
  readonly format: 1;
  /** Of the source (source.ts), and of what else the result depends on. */
  readonly key: string;
  readonly host: RecordedHost;
  readonly devices: readonly {readonly name: string; readonly ifindex: number; readonly mac: string}[];
  /** Some routes: as many as are looked at in turn. */
  readonly samples: readonly {readonly address: string; readonly device: string}[];
  /** The interface below, whose MTU counts. */
  readonly carrier: {readonly ifindex: number; readonly mtu: number};
}

interface RecordedHost {
  readonly form: 'routed' | 'l2';
  readonly networks: readonly string[];
  readonly subnets: readonly string[];
  readonly mtu: number;
  readonly bridge?: string | undefined;
}

type Places = Pick<VxlanPlaces, 'runDir' | 'network'>;

const mostSamples = 8;

function directoryOf({runDir}: Places): string {
  return join(runDir, 'static');
}

/** The file whose lock keeps two calls from making the same devices. */
export function ensureLockPath(places: Places): string {
  ensureDirectory(directoryOf(places), 0o755);
  return join(directoryOf(places), 'lock');
}

/** `undefined` where there is none, or one of another format. */
export function findRecord(places: Places): StaticRecord | undefined {
  try {
    const text = readFileSync(join(directoryOf(places), `${places.network}.json`), 'utf8');
    const record = JSON.parse(text) as StaticRecord;
    return record.format === 1 ? record : undefined;
  } catch {
    return undefined;
  }
}

/** All networks without agent that this host has taken part in since it was started. */
export function listRecords({
  runDir,
}: Pick<Places, 'runDir'>): readonly {readonly name: string; readonly ranges: readonly Cidr[]}[] {
  let files: readonly string[];
  try {
    files = readdirSync(join(runDir, 'static')).filter((file) => file.endsWith('.json'));
  } catch {
    return [];
  }
  return files.flatMap((file) => {
    const name = file.slice(0, -'.json'.length);
    const record = findRecord({runDir, network: name});
    return record ? [{name, ranges: record.host.networks.map((text) => parseCidr(text)!)}] : [];
  });
}

export function writeRecord(places: Places, record: StaticRecord): void {
  const path = join(directoryOf(places), `${places.network}.json`);
  writeFileSync(`${path}.new`, `${JSON.stringify(record)}\n`, {mode: 0o600});
  renameSync(`${path}.new`, path);
}

/** `links` are the devices that the plan led to. */
export function makeRecord(
  plan: StaticPlan,
  {key, links}: {readonly key: string; readonly links: readonly Link[]},
) {
  const {desired, carrier} = plan;
  const routes = desired.peers.flatMap((peer) => peer.routes);
  const step = Math.max(1, Math.floor(routes.length / mostSamples));
  const samples = routes
    .filter((_, i) => i % step === 0)
    .flatMap(({gateway, via}) => ('device' in via ? [{address: formatIp(gateway), device: via.device}] : []));
  return {
    format: 1,
    key,
    host: recordHost(plan),
    devices: links.map(({name, ifindex, mac}) => ({name, ifindex, mac})),
    samples: samples.slice(0, 2 * mostSamples),
    carrier: {ifindex: carrier.ifindex, mtu: carrier.mtu},
  } satisfies StaticRecord;
}

function recordHost({desired, self, bridge}: StaticPlan): RecordedHost {
  const {network, devices} = desired;
  return {
    form: network.form,
    networks: network.ranges.map(formatCidr),
    subnets: self.subnets.map(formatCidr),
    mtu: Math.min(...devices.map(({mtu}) => mtu)),
    bridge,
  };
}

/** What a plan gives this host. */
export function hostNetworkOf(plan: StaticPlan): HostNetwork {
  return readHost(recordHost(plan));
}

/** The same, as it was recorded. */
export function readHost({form, networks, subnets, mtu, bridge}: RecordedHost): HostNetwork {
  return {
    form,
    networks: networks.map((text) => parseCidr(text)!),
    subnets: subnets.map((text) => parseCidr(text)!),
    mtu,
    // The network's own table does it.
    ipMasq: false,
    bridge,
  };
}
