import type {ExecutionContext} from 'ava';
import {limit, limits, prepare, type Limited} from './harness/bandwidth.ts';
import {makeHost, type TestHost} from './harness/host.ts';
import {testWith} from './harness/needs.ts';
import {measureRate, type Way} from './harness/traffic.ts';

const test = testWith('root');
const megabit = 1_000_000;

const gateway = ['10.61.0.1', '2001:db8:61::1'] as const;
const toHost = (from: string, address: string = gateway[0]): Way => ({from, to: undefined, address});
const toContainer = ({name, addresses}: Limited, index = 0): Way => {
  return {from: undefined, to: name, address: addresses[index] ?? ''};
};

/** Measured again when a busy machine disturbed it: a wrong limit is wrong each time. */
async function assertRate(t: ExecutionContext, host: TestHost, way: Way, configured: number): Promise<void> {
  const measured: string[] = [];
  for (let attempt = 1; attempt <= 3; attempt++) {
    const share = (await measureRate(host, way, {skipMs: 600, measureMs: 2500})) / configured;
    measured.push(`${(share * 100).toFixed(1)} %`);
    if (share > 0.9 && share < 1.1) break;
  }
  t.log(`${way.from ?? 'host'} to ${way.address}: ${measured.join(', ')} of ${configured / megabit} Mbit/s`);
  const last = Number.parseFloat(measured.at(-1) ?? '');
  t.true(last > 90 && last < 110, measured.join(', '));
}

async function assertUnlimited(t: ExecutionContext, host: TestHost, way: Way): Promise<void> {
  const measured = await measureRate(host, way, {skipMs: 300, measureMs: 500});
  t.true(measured > 2 * limits.ingressRate, `${measured} bit/s`);
}

test.serial('what a container receives and sends is limited to the configured rates', async (t) => {
  const host = await makeHost(t);
  const pod = await prepare(host, 'pod', limits);
  await limit(host, pod);
  for (const family of [0, 1] as const) {
    await assertRate(t, host, toContainer(pod, family), limits.ingressRate);
    await assertRate(t, host, toHost('pod', gateway[family]), limits.egressRate);
  }
});

test.serial('with shapedSubnets only traffic with these is limited', async (t) => {
  const host = await makeHost(t);
  const pod = await prepare(host, 'pod', {...limits, shapedSubnets: ['10.61.0.0/24', '2001:db8:99::/48']});
  await limit(host, pod);
  await assertRate(t, host, toContainer(pod), limits.ingressRate);
  await assertRate(t, host, toHost('pod'), limits.egressRate);
  await assertUnlimited(t, host, toContainer(pod, 1));
  await assertUnlimited(t, host, toHost('pod', gateway[1]));
});

test.serial('with unshapedSubnets all traffic but that with these is limited', async (t) => {
  const host = await makeHost(t);
  const pod = await prepare(host, 'pod', {...limits, unshapedSubnets: ['10.61.0.1/32', '2001:db8:99::/48']});
  await limit(host, pod);
  await assertRate(t, host, toContainer(pod, 1), limits.ingressRate);
  await assertRate(t, host, toHost('pod', gateway[1]), limits.egressRate);
  await assertUnlimited(t, host, toContainer(pod));
  await assertUnlimited(t, host, toHost('pod'));
});
