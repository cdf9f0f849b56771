import type {ExecutionContext} from 'ava';
import type {EtcdConf} from '../../agent/membership/etcd/conf.ts';
import {createEtcdMembership} from '../../agent/membership/etcd/membership.ts';
import type {Advertisement, MembershipContext} from '../../agent/membership/membership.ts';
import {formatIp, parseIp} from '../../lib/ip/address.ts';
import {formatCidr} from '../../lib/ip/cidr.ts';
import {keepLog, record, type Recorded} from '../../test/helpers/membership-recorder.ts';
import type {Etcd} from './etcd.ts';

// Hosts of a network in etcd, for tests of the membership alone: as many as a test wants in one process.

export const prefix = '/coreos.com/network';
export const network = '{"Network":"10.5.0.0/16","Backend":{"Type":"vxlan"}}';

const conf: Omit<EtcdConf, 'endpoints'> = {
  prefix,
  leaseTtlS: 86_400,
  aliveTtlS: 60,
  requestTimeoutMs: 1000,
  retryMs: 50,
  retryMaxMs: 500,
  staleAfterMs: 500,
  probeMs: 60_000,
};

/** What the host with this last number of its address says of itself. */
export const hostOf = (last: number): Advertisement => ({
  underlay: [parseIp(`192.0.2.${last}`)!],
  macs: {4: `02:00:00:00:00:${last.toString(16).padStart(2, '0')}`},
  mtu: 1450,
});

export interface JoinOptions extends Partial<EtcdConf> {
  /** Says at once what `hostOf` says for this number. */
  readonly last?: number;
  readonly form?: MembershipContext['network']['form'];
  /** Of the kernel it runs on; this one's by default. */
  readonly boot?: string;
}

/** Starts a host's membership; it ends with the test. */
export function joinEtcd(
  t: ExecutionContext,
  {endpoints}: Pick<Etcd, 'endpoints'>,
  nodeId: string,
  {last, form = 'routed', boot, ...more}: JoinOptions = {},
): Recorded {
  const membership = createEtcdMembership(
    {...conf, endpoints: [...endpoints], ...more},
    {nodeId, network: {name: 'pods', form}, log: keepLog(t), ...(boot !== undefined && {boot})},
  );
  const recorded = record(t, membership);
  if (last !== undefined) membership.advertise(hostOf(last));
  return recorded;
}

export const isReady = ({membership}: Recorded) => membership.state.kind === 'ready';

/** "10.5.1.0/24", and the one of IPv6 after " & ". */
export const subnetOf = ({snapshots}: Recorded) =>
  snapshots.at(-1)?.self?.subnets.map(formatCidr).join(' & ');

/** "b@192.0.2.2" of each, sorted. */
export const peersOf = ({snapshots}: Recorded) =>
  (snapshots.at(-1)?.peers ?? []).map(({id, underlay}) => `${id}@${underlay.map(formatIp).join()}`).sort();

export async function putKey(etcd: Etcd, key: string, value: string, ...flags: string[]): Promise<void> {
  await etcd.ctl(['put', ...flags, '--', `${prefix}/${key}`, value]);
}

export async function listKeys(etcd: Etcd, below: string): Promise<string[]> {
  const {stdout} = await etcd.ctl(['get', '--prefix', '--keys-only', `${prefix}/${below}`]);
  return stdout.split('\n').filter((line) => line !== '');
}

/** The store's revision, which every change of anything increases. */
export async function revisionOf(etcd: Etcd): Promise<number> {
  const {stdout} = await etcd.ctl(['get', 'x', '-w', 'json']);
  return (JSON.parse(stdout) as {header: {revision: number}}).header.revision;
}
