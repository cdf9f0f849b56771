import test from 'ava';
import {CniError} from '../../../lib/cni/error.ts';
import {formatCidr} from '../../../lib/ip/cidr.ts';
import {parsePtpConf} from '../../../plugins/ptp/conf.ts';
import type {PtpConf} from '../../../plugins/ptp/conf.ts';
import {callFor} from '../../lib/cni/helpers.ts';

const parse = async (conf: object) => parsePtpConf(await callFor({type: 'ptp', ...conf}));

const defaults: PtpConf = {
  owner: {network: 'net1', containerId: 'container1', ifName: 'eth0'},
  ipMasq: false,
  ipMasqBackend: undefined,
  exemptDestinations: [],
  mtu: undefined,
  ipamType: undefined,
  dns: undefined,
};

test('every key has its default, which null leaves', async (t) => {
  t.deepEqual(await parse({}), defaults);
  const keys = ['ipMasq', 'ipMasqBackend', 'exemptDestinations', 'mtu', 'ipam', 'dns'];
  t.deepEqual(await parse(Object.fromEntries(keys.map((key) => [key, null]))), defaults);
});

test('every key, in any case', async (t) => {
  const {exemptDestinations, ...conf} = await parse({
    IPMASQ: true,
    ipmasqbackend: 'iptables',
    exemptDestinations: ['10.0.0.0/8'],
    MTU: 1400,
    Ipam: {Type: 'host-local', subnet: '10.1.0.0/16'},
    dns: {nameservers: [], domain: ''},
  });
  t.deepEqual(exemptDestinations.map(formatCidr), ['10.0.0.0/8']);
  t.like(conf, {ipMasq: true, ipMasqBackend: 'iptables', mtu: 1400, ipamType: 'host-local'});
  // An empty list says that there are none.
  t.deepEqual(conf.dns, {nameservers: []});
});

test('0 and empty texts are none', async (t) => {
  t.deepEqual(await parse({mtu: 0, ipMasqBackend: '', ipam: {type: ''}, dns: {domain: ''}}), defaults);
});

const refuses = test.macro({
  title: (_, conf: object, msg: string) => `${JSON.stringify(conf)} is refused: ${msg}`,
  async exec(t, conf: object, msg: string) {
    const error = await t.throwsAsync(parse(conf), {instanceOf: CniError});
    t.is(error?.message, msg);
    t.is(error?.code, 7);
  },
});

test(refuses, {ipMasqBackend: 'pf'}, 'unknown ipmasq backend "pf"');
test(refuses, {mtu: 67}, 'invalid MTU 67');
test(refuses, {mtu: 65_536}, 'invalid MTU 65536');
test(refuses, {mtu: 'x'}, 'failed to load netconf: mtu: expected a number, found "x"');
test(refuses, {exemptDestinations: ['x']}, 'failed to load netconf: invalid CIDR address: x');
test(refuses, {ipMasq: 'yes'}, 'failed to load netconf: ipMasq: expected true or false, found "yes"');
