import type {ExecutionContext} from 'ava';
import {limit, limits, prepare, type Limited} from './harness/bandwidth.ts';
import {makeHost} from './harness/host.ts';
import {testWith} from './harness/needs.ts';
import {measureRate, type Way} from './harness/traffic.ts';

const test = testWith('root');
const megabit = 1_000_000;

const gateway = ['10.61.0.1', '2001:db8:61::1'] as const;
const toHost = (from: string, address: string = gateway[0]): Way => ({from, to: undefined, address});
const toContainer = ({name, addresses}: Limited, index = 0): Way => {
  return {from: undefined, to: name, address: addresses[index] ?? ''};
};

function isNear(t: ExecutionContext, what: string, measured: number, configured: number): void {
  const share = measured / configured;
  t.log(
    `${what}: ${(measured / megabit).toFixed(2)} Mbit/s of ${configured / megabit} (${(share * 100).toFixed(1)} %)`,
  );
  t.true(share > 0.9 && share < 1.1, `${what}: ${measured} bit/s instead of ${configured}`);
}

test.serial('what a container receives and sends is limited to the configured rates', async (t) => {
  const host = await makeHost(t);
  const pod = await prepare(host, 'pod', limits);
  await limit(host, pod);
  isNear(t, 'receives', await measureRate(host, toContainer(pod)), limits.ingressRate);
  isNear(t, 'sends', await measureRate(host, toHost('pod')), limits.egressRate);
});

const quick = {skipMs: 500, measureMs: 1500};

test.serial('with shapedSubnets only traffic with these is limited', async (t) => {
  const host = await makeHost(t);
  const pod = await prepare(host, 'pod', {...limits, shapedSubnets: ['10.61.0.0/24', '2001:db8:99::/48']});
  await limit(host, pod);
  isNear(t, 'receives by IPv4', await measureRate(host, toContainer(pod), quick), limits.ingressRate);
  isNear(t, 'sends by IPv4', await measureRate(host, toHost('pod'), quick), limits.egressRate);
  t.true((await measureRate(host, toContainer(pod, 1), quick)) > 2 * limits.ingressRate);
  t.true((await measureRate(host, toHost('pod', gateway[1]), quick)) > 2 * limits.ingressRate);
});

test.serial('with unshapedSubnets all traffic but that with these is limited', async (t) => {
  const host = await makeHost(t);
  const pod = await prepare(host, 'pod', {...limits, unshapedSubnets: ['10.61.0.1/32', '2001:db8:99::/48']});
  await limit(host, pod);
  isNear(t, 'receives by IPv6', await measureRate(host, toContainer(pod, 1), quick), limits.ingressRate);
  isNear(t, 'sends by IPv6', await measureRate(host, toHost('pod', gateway[1]), quick), limits.egressRate);
  t.true((await measureRate(host, toContainer(pod), quick)) > 2 * limits.ingressRate);
  t.true((await measureRate(host, toHost('pod'), quick)) > 2 * limits.ingressRate);
});
