import test from 'ava';
import {CniError} from '../../../lib/cni/error.ts';
import {findDataDir, parseTuningConf} from '../../../plugins/tuning/conf.ts';
import type {TuningConf} from '../../../plugins/tuning/conf.ts';
import {callFor} from '../../lib/cni/helpers.ts';

async function parse(conf: object, args?: string): Promise<TuningConf> {
  return parseTuningConf(await callFor({type: 'tuning', ...conf}, {CNI_ARGS: args}));
}

const defaults: TuningConf = {sysctls: [], attributes: {}, dataDir: '/run/cni/tuning'};

test('nothing is changed by default', async (t) => {
  t.deepEqual(await parse({}), defaults);
  const nulls = {sysctl: null, mac: null, mtu: null, promisc: null, allmulti: null, txQLen: null};
  t.deepEqual(await parse({...nulls, dataDir: null, args: null, runtimeConfig: {mac: null}}), defaults);
});

test('no address, an MTU of 0 and a false promisc change nothing', async (t) => {
  t.deepEqual(await parse({mac: '', mtu: 0, promisc: false, dataDir: ''}), defaults);
});

const gives = test.macro({
  title: (_, conf: object, args: string, expected: object) =>
    `${JSON.stringify(conf)} ${args} gives ${JSON.stringify(expected)}`,
  async exec(t, conf: object, args: string, expected: object) {
    t.deepEqual((await parse(conf, args)).attributes, expected);
  },
});

test(gives, {MTU: 1400, Promisc: true, allMulti: false, TXQLEN: 0}, '', {
  mtu: 1400,
  promisc: true,
  allmulti: false,
  txQLen: 0,
});
const field = {mac: '02-00-00-00-00-0A'};
const runtime = {runtimeConfig: {mac: '02:00:00:00:00:03'}};
const fromArgs = {args: {cni: {mac: '02:00:00:00:00:04'}}};
const environment = 'MAC=0200.0000.0002';
test(gives, field, '', {mac: '02:00:00:00:00:0a'});
test(gives, field, environment, {mac: '02:00:00:00:00:02'});
test(gives, {...field, ...runtime}, environment, {mac: '02:00:00:00:00:03'});
test(gives, {...field, ...runtime, ...fromArgs}, environment, {mac: '02:00:00:00:00:04'});
test(gives, {...field, runtimeConfig: {mac: ''}}, 'MAC=', {mac: '02:00:00:00:00:0a'});
test(gives, {...field, ...runtime, args: {cni: {mac: ''}}}, environment, {});
test(gives, {mtu: 1400, promisc: true, args: {cni: {mtu: 0, promisc: false}}}, '', {});
test(gives, {allmulti: true, txQLen: 7, args: {cni: {allmulti: false, txQLen: 8}}}, '', {
  allmulti: false,
  txQLen: 8,
});

test('sysctls keep their order; IFNAME is the interface', async (t) => {
  const {sysctls} = await parse({
    sysctl: {'net.ipv4.conf.IFNAME.arp_filter': '1', 'net/core/somaxconn': '500', 'net.ipv6.x': null},
  });
  t.deepEqual(sysctls, [
    {key: 'net.ipv4.conf.IFNAME.arp_filter', path: 'net/ipv4/conf/eth0/arp_filter', value: '1'},
    {key: 'net/core/somaxconn', path: 'net/core/somaxconn', value: '500'},
  ]);
});

test('args.cni.sysctl overrides and adds, in any spelling of the key', async (t) => {
  const args = {cni: {sysctl: {'net/a': '2', 'net.c': '3'}}};
  const {sysctls} = await parse({sysctl: {'net.a': '1', 'net.b': '1'}, args});
  t.deepEqual(
    sysctls.map(({path, value}) => `${path}=${value}`),
    ['net/b=1', 'net/a=2', 'net/c=3'],
  );
  t.is((await parse({args})).sysctls.length, 2);
});

const refuses = test.macro({
  title: (_, conf: object, msg: string) => `${JSON.stringify(conf)} is refused: ${msg}`,
  async exec(t, conf: object, msg: string) {
    const error = await t.throwsAsync(parse(conf), {instanceOf: CniError});
    t.is(error?.message, msg);
    t.is(error?.code, 7);
  },
});

test(refuses, {sysctl: {'kernel.msgmax': '1'}}, 'invalid net sysctl key: "kernel/msgmax"');
test(refuses, {args: {cni: {sysctl: {net: '1'}}}}, 'invalid net sysctl key: "net"');
test(refuses, {sysctl: {'net.a': 1}}, 'failed to load netconf: sysctl.net.a: expected a string, found 1');
test(refuses, {mac: 'x'}, 'invalid args x for MAC addr: address x: invalid MAC address');
test(refuses, {runtimeConfig: {mac: '01:00:00:00:00:00'}}, 'invalid args 01:00:00:00:00:00 for MAC addr');
test(refuses, {mac: '00:00:00:00:00:00'}, 'invalid args 00:00:00:00:00:00 for MAC addr');
test(refuses, {mtu: -1}, 'invalid mtu -1');
test(refuses, {txQLen: -1}, 'invalid txQLen -1');
test(refuses, {promisc: 'yes'}, 'failed to load netconf: promisc: expected true or false, found "yes"');

test('an unknown argument is refused even where another source wins', async (t) => {
  const error = await t.throwsAsync(parse(runtime, 'IP=10.0.0.1'), {instanceOf: CniError});
  t.is(error?.message, 'ARGS: unknown args ["IP=10.0.0.1"]');
  t.is(error?.code, 4);
});

test('a key of sysctl that is there twice is refused', async (t) => {
  const call = await callFor({sysctl: {'net.a': '1'}});
  const stdin = '{"name": "n", "sysctl": {"net.a": "1", "net.a": "2"}}';
  const error = t.throws(() => parseTuningConf({...call, stdin}), {instanceOf: CniError});
  t.is(error?.message, 'duplicated sysctl keys are not allowed');
  t.is(error?.details, '"net.a" is there twice');
});

test('DEL and GC find the directory whatever else is wrong', async (t) => {
  t.is(findDataDir(await callFor({DataDir: '/x', sysctl: 7, mac: 7})), '/x');
  t.is(findDataDir(await callFor({dataDir: ''})), '/run/cni/tuning');
});
