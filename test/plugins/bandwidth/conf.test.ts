import test from 'ava';
import {CniError, errorCodes} from '../../../lib/cni/error.ts';
import {formatCidr} from '../../../lib/ip/cidr.ts';
import {parseBandwidthConf, type BandwidthConf} from '../../../plugins/bandwidth/conf.ts';
import {callFor} from '../../lib/cni/helpers.ts';

async function parse(conf: object): Promise<BandwidthConf> {
  return parseBandwidthConf(await callFor({cniVersion: '1.0.0', type: 'bandwidth', ...conf}));
}

const owner = {network: 'net1', containerId: 'container1', ifName: 'eth0'};
const nothing: BandwidthConf = {owner, ingress: undefined, egress: undefined, selection: {kind: 'all'}};
const ingress = {ingressRate: 8000, ingressBurst: 16_000};
const egress = {egressRate: 24_000, egressBurst: 32_000};
const parsedIngress = {rateBitsPerSecond: 8000, burstBits: 16_000};
const parsedEgress = {rateBitsPerSecond: 24_000, burstBits: 32_000};

const accepts = test.macro({
  title: (_, conf: object) => `accepts ${JSON.stringify(conf)}`,
  async exec(t, conf: object, expected: Partial<BandwidthConf>) {
    t.deepEqual(await parse(conf), {...nothing, ...expected});
  },
});

test(accepts, {}, {});
test(accepts, {ingressRate: null, runtimeConfig: {bandwidth: null}}, {});
test(accepts, {ingressRate: 0, ingressBurst: 0}, {});
test(accepts, ingress, {ingress: parsedIngress});
test(accepts, {...ingress, ...egress}, {ingress: parsedIngress, egress: parsedEgress});
test(accepts, {INGRESSRATE: 8000, ingressburst: 16_000}, {ingress: parsedIngress});
test(accepts, {runtimeConfig: {bandwidth: egress}}, {egress: parsedEgress});
test(accepts, {RuntimeConfig: {Bandwidth: egress}}, {egress: parsedEgress});
// What the configuration says at all, the runtime cannot say.
test(accepts, {...ingress, runtimeConfig: {bandwidth: egress}}, {ingress: parsedIngress});
test(accepts, {ingressRate: 0, runtimeConfig: {bandwidth: egress}}, {});
test(
  accepts,
  {ingressRate: 8000, ingressBurst: 4_294_967_295 * 8 - 1},
  {ingress: {rateBitsPerSecond: 8000, burstBits: 4_294_967_295 * 8 - 1}},
);

const refuses = test.macro({
  title: (_, conf: object, message: string) => `refuses ${JSON.stringify(conf)}: ${message}`,
  async exec(t, conf: object, message: string, details: RegExp) {
    const error = await t.throwsAsync<CniError>(parse(conf), {instanceOf: CniError});
    t.is(error?.code, errorCodes.invalidConfig);
    t.is(error?.message, message);
    t.regex(error?.details ?? '', details);
  },
});

const rateAlone = 'if rate is set, burst must also be set';
const burstAlone = 'if burst is set, rate must also be set';
test(refuses, {ingressRate: 5}, rateAlone, /"ingressRate" is 5; give "ingressBurst"/);
test(refuses, {egressRate: 5, egressBurst: 0}, rateAlone, /"egressRate" is 5; give "egressBurst"/);
test(refuses, {egressBurst: 5}, burstAlone, /"egressBurst" is 5; give "egressRate"/);
test(refuses, {runtimeConfig: {bandwidth: {ingressBurst: 5}}}, burstAlone, /"ingressBurst" is 5/);
test(
  refuses,
  {ingressRate: 8000, ingressBurst: 4_294_967_295 * 8},
  'burst cannot be more than 4GB',
  /34359738360 bits/,
);
for (const value of [-1, 0.5, 1e30]) {
  const text = `failed to load netconf: ingressRate: expected a whole number of bits, found ${value}`;
  test(refuses, {ingressRate: value, ingressBurst: 8000}, text, /^$/);
}
test(
  refuses,
  {ingressRate: '1M', ingressBurst: 8000},
  'failed to load netconf: ingressRate: expected a number, found "1M"',
  /^$/,
);
test(
  refuses,
  {ingressRate: 7, ingressBurst: 8000},
  '"ingressRate" 7 with "ingressBurst" 8000 is less than one byte',
  /bits per second/,
);
test(
  refuses,
  {shapedSubnets: ['10.0.0.0/8'], unshapedSubnets: ['10.1.0.0/16']},
  'unshapedSubnets and shapedSubnets cannot be both specified, one of them should be discarded',
  /"shapedSubnets" limits only/,
);
test(refuses, {shapedSubnets: ['10.0.0.0']}, 'bad subnet "10.0.0.0" provided', /invalid CIDR address/);

test('subnets may stand beside limits of the runtime, or with them; host bits do not matter', async (t) => {
  for (const conf of [
    {unshapedSubnets: ['10.1.2.3/8', '2001:db8::1/32'], runtimeConfig: {bandwidth: ingress}},
    {runtimeConfig: {bandwidth: {...ingress, unshapedSubnets: ['10.0.0.0/8', '2001:db8::/32']}}},
  ]) {
    const {selection, ingress: limit} = await parse(conf);
    t.deepEqual(limit, parsedIngress);
    t.is(selection.kind, 'except');
    t.deepEqual(selection.kind === 'all' || selection.subnets.map(formatCidr), [
      '10.0.0.0/8',
      '2001:db8::/32',
    ]);
  }
  t.is((await parse({...ingress, shapedSubnets: [], unshapedSubnets: []})).selection.kind, 'all');
});
