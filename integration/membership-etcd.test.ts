import type {ExecutionContext} from 'ava';
import type {EtcdConf} from '../agent/membership/etcd/conf.ts';
import {createEtcdMembership} from '../agent/membership/etcd/membership.ts';
import type {Advertisement} from '../agent/membership/membership.ts';
import {formatIp, parseIp} from '../lib/ip/address.ts';
import {formatCidr} from '../lib/ip/cidr.ts';
import {keepLog, record, type Recorded} from '../test/helpers/membership-recorder.ts';
import {makeEtcd, type Etcd} from './harness/etcd.ts';
import {testWith} from './harness/needs.ts';
import {enterOwnNetns} from './harness/own-netns.ts';

const test = testWith('root', 'apt');
test.before(() => enterOwnNetns('etcd'));

const prefix = '/coreos.com/network';
const network = '{"Network":"10.5.0.0/16","Backend":{"Type":"vxlan"}}';

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
const host = (last: number): Advertisement => ({
  underlay: [parseIp(`192.0.2.${last}`)!],
  macs: {4: `02:00:00:00:00:${last.toString(16).padStart(2, '0')}`},
  mtu: 1450,
});

function join(
  t: ExecutionContext,
  etcd: Pick<Etcd, 'endpoints'>,
  id: string,
  {last, ...more}: Partial<EtcdConf> & {readonly last?: number} = {},
): Recorded {
  const membership = createEtcdMembership(
    {...conf, endpoints: [...etcd.endpoints], ...more},
    {nodeId: id, network: {name: 'pods', form: 'routed'}, log: keepLog(t)},
  );
  const recorded = record(t, membership);
  if (last !== undefined) membership.advertise(host(last));
  return recorded;
}

const ready = ({membership}: Recorded) => membership.state.kind === 'ready';
const subnetOf = ({snapshots}: Recorded) => snapshots.at(-1)?.self?.subnets.map(formatCidr).join(' & ');
const peersOf = ({snapshots}: Recorded) =>
  (snapshots.at(-1)?.peers ?? []).map(({id, underlay}) => `${id}@${underlay.map(formatIp).join()}`).sort();

async function put(etcd: Etcd, key: string, value: string, ...flags: string[]): Promise<void> {
  await etcd.ctl(['put', ...flags, '--', `${prefix}/${key}`, value]);
}

async function keys(etcd: Etcd, below: string): Promise<string[]> {
  const {stdout} = await etcd.ctl(['get', '--prefix', '--keys-only', `${prefix}/${below}`]);
  return stdout.split('\n').filter((line) => line !== '');
}

test.serial('hosts take subnets and see each other; what they write is what flannel writes', async (t) => {
  const etcd = await makeEtcd(t);
  const a = join(t, etcd, 'a', {last: 1});
  await a.until('it waits for a configuration', () =>
    a.membership.state.reason?.includes('config is not there'),
  );
  await put(etcd, 'config', network);
  await a.until('ready', ready);
  const b = join(t, etcd, 'b', {last: 2});
  await b.until('ready', ready);
  await a.until('a sees b', () => peersOf(a).join() === 'b@192.0.2.2');
  await b.until('b sees a', () => peersOf(b).join() === 'a@192.0.2.1');
  t.like(b.snapshot.network, {name: 'pods', form: 'routed', vni: 1, port: 8472, directRouting: false});
  const name = subnetOf(a)!.replace('/', '-');
  const {stdout} = await etcd.ctl(['get', '--print-value-only', `${prefix}/subnets/${name}`]);
  t.is(
    stdout.trim(),
    '{"PublicIP":"192.0.2.1","PublicIPv6":null,"BackendType":"vxlan","BackendData":{"VNI":1,"VtepMAC":"02:00:00:00:00:01"},"Weft":{"v":1,"id":"a","mtu":1450}}',
  );
  t.deepEqual(
    await keys(etcd, 'subnets'),
    [a, b].map((each) => `${prefix}/subnets/${subnetOf(each)!.replace('/', '-')}`).sort(),
  );
  // What is said again changes nothing, and something else arrives.
  const seen = b.snapshots.length;
  a.membership.advertise(host(1));
  a.membership.advertise({...host(1), macs: {4: '02:00:00:00:00:99'}});
  await b.until('b sees the new address', () => b.snapshot.peers[0]?.macs[4] === '02:00:00:00:00:99');
  t.is(b.snapshots.length, seen + 1);
});
