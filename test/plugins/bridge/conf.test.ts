import test from 'ava';
import {CniError, errorCodes} from '../../../lib/cni/error.ts';
import {formatIp} from '../../../lib/ip/address.ts';
import {formatCidr} from '../../../lib/ip/cidr.ts';
import {parseBridgeConf} from '../../../plugins/bridge/conf.ts';
import type {BridgeConf} from '../../../plugins/bridge/conf.ts';
import {callFor} from '../../lib/cni/helpers.ts';

async function parse(conf: object, args?: string): Promise<BridgeConf> {
  return parseBridgeConf(await callFor({type: 'bridge', ...conf}, {CNI_ARGS: args}));
}

const defaults: BridgeConf = {
  owner: {network: 'net1', containerId: 'container1', ifName: 'eth0'},
  bridge: 'cni0',
  isGateway: false,
  isDefaultGateway: false,
  forceAddress: false,
  ipMasq: false,
  ipMasqBackend: undefined,
  exemptDestinations: [],
  mtu: undefined,
  hairpinMode: false,
  promiscMode: false,
  vlan: 0,
  trunk: [],
  vlanFiltering: false,
  preserveDefaultVlan: false,
  macspoofchk: false,
  enabledad: false,
  disableContainerInterface: false,
  portIsolation: false,
  ipamType: undefined,
  rangeGateways: [],
  dns: undefined,
  mac: undefined,
};

test('every key has its default', async (t) => {
  t.deepEqual(await parse({}), defaults);
});

const nulls = Object.keys(defaults).filter((key) => !['owner', 'rangeGateways', 'trunk'].includes(key));

test('null leaves the default', async (t) => {
  const conf = Object.fromEntries(
    [...nulls, 'vlanTrunk', 'ipam', 'args', 'runtimeConfig'].map((k) => [k, null]),
  );
  t.deepEqual(await parse(conf), defaults);
});

const accepts = test.macro({
  title: (_, conf: object, expected: Partial<BridgeConf>) =>
    `${JSON.stringify(conf)} gives ${Object.keys(expected).join(', ')}`,
  async exec(t, conf: object, expected: Partial<BridgeConf>) {
    t.deepEqual(await parse(conf), {...defaults, ...expected});
  },
});

for (const key of [
  'isGateway',
  'forceAddress',
  'ipMasq',
  'hairpinMode',
  'promiscMode',
  'preserveDefaultVlan',
  'macspoofchk',
  'enabledad',
  'disableContainerInterface',
  'portIsolation',
]) {
  test(accepts, {[key]: true}, {[key]: true});
  test(accepts, {[key]: false}, {});
}
test(accepts, {isDefaultGateway: true}, {isDefaultGateway: true, isGateway: true});
test(accepts, {isDefaultGateway: true, isGateway: false}, {isDefaultGateway: true, isGateway: true});
test(accepts, {bridge: 'br-of.mine_12345'.slice(0, 15)}, {bridge: 'br-of.mine_1234'});
test(accepts, {bridge: ''}, {});
test(accepts, {mtu: 68}, {mtu: 68});
test(accepts, {mtu: 1400}, {mtu: 1400});
test(accepts, {mtu: 0}, {});
test(accepts, {vlan: 0}, {});
test(accepts, {vlan: 1}, {vlan: 1, vlanFiltering: true});
test(accepts, {vlan: 4094}, {vlan: 4094, vlanFiltering: true});
test(accepts, {vlanTrunk: []}, {vlanFiltering: true});
test(
  accepts,
  {vlan: 7, vlanTrunk: [{id: 30}, {minID: 10, maxID: 12}, {id: 11}]},
  {vlan: 7, trunk: [10, 11, 12, 30], vlanFiltering: true},
);
test(accepts, {ipMasqBackend: 'iptables'}, {ipMasqBackend: 'iptables'});
test(accepts, {ipMasqBackend: 'nftables'}, {ipMasqBackend: 'nftables'});
test(accepts, {ipMasqBackend: ''}, {});
test(accepts, {ipam: {}}, {});
test(accepts, {ipam: {type: ''}}, {});
test(accepts, {ipam: {type: 'host-local'}}, {ipamType: 'host-local'});
test(
  accepts,
  {IPAM: {Type: 'static'}, ISGATEWAY: true, Bridge: 'br1'},
  {ipamType: 'static', isGateway: true, bridge: 'br1'},
);
test(accepts, {isGateway: false, isgateway: true}, {isGateway: true});
test(accepts, {somethingElse: 1, 'cni.dev/x': {}}, {});

test('exemptDestinations are subnets of both families', async (t) => {
  const {exemptDestinations} = await parse({exemptDestinations: ['10.0.0.0/8', 'fd00::/8']});
  t.deepEqual(exemptDestinations.map(formatCidr), ['10.0.0.0/8', 'fd00::/8']);
});

test('with isGateway the gateways of all ranges are known, wherever they are written', async (t) => {
  const conf = {
    isGateway: true,
    ipam: {
      type: 'host-local',
      subnet: '10.1.0.0/24',
      ranges: [
        [{subnet: '10.2.0.0/24', gateway: '10.2.0.254'}, {subnet: '10.3.0.0/24'}],
        [{subnet: 'fd00:3::/64', gateway: ''}, {subnet: 'nonsense'}, null],
        'nonsense',
      ],
    },
    runtimeConfig: {ipRanges: [[{subnet: '10.4.0.0/16'}]]},
  };
  const {rangeGateways} = await parse(conf);
  t.deepEqual(rangeGateways.map(formatCidr).sort(), [
    '10.1.0.1/24',
    '10.2.0.254/24',
    '10.3.0.1/24',
    '10.4.0.1/16',
    'fd00:3::1/64',
  ]);
  t.is(formatIp(rangeGateways[0]!.ip).length > 0, true);
  t.deepEqual((await parse({...conf, isGateway: false})).rangeGateways, []);
});

const refuses = test.macro({
  title: (_, conf: object) => `refuses ${JSON.stringify(conf)}`,
  async exec(t, conf: object, msg: string, details?: string) {
    const call = await callFor({type: 'bridge', ...conf});
    const error = t.throws(() => parseBridgeConf(call), {instanceOf: CniError});
    t.is(error.code, errorCodes.invalidConfig);
    t.is(error.message, msg);
    t.true(error.details.includes(details ?? ''), `details are "${error.details}"`);
  },
});

test(
  refuses,
  {hairpinMode: true, promiscMode: true},
  'cannot set hairpin mode and promiscuous mode at the same time',
  'promiscMode',
);
test(refuses, {vlan: 4095}, 'invalid VLAN ID 4095 (must be between 0 and 4094)', '"vlan"');
test(refuses, {vlan: -1}, 'invalid VLAN ID -1 (must be between 0 and 4094)');
test(refuses, {mtu: -1}, 'invalid MTU -1', '"mtu"');
test(refuses, {mtu: 67}, 'invalid MTU 67', 'from 68');
test(refuses, {mtu: 65536}, 'invalid MTU 65536');
test(
  refuses,
  {disableContainerInterface: true, ipam: {type: 'host-local'}},
  'cannot use IPAM when DisableContainerInterface flag is set',
  'host-local',
);
for (const bridge of ['a-name-of-16-byt', 'a/b', 'a b', 'a:b', '.', '..', 'ééééé-12345é', 'br%d', 'a\0b'])
  test(refuses, {bridge}, `bridge: ${JSON.stringify(bridge)} cannot be the name of an interface`, '15 bytes');
test(
  refuses,
  {bridge: 'br-of-my-own', vlan: 100, isGateway: true},
  'bridge: "br-of-my-own.100", the gateway\'s interface, is too long a name for one',
  '11 bytes',
);
test(
  accepts,
  {bridge: 'br-of-mine', vlan: 4094, isGateway: true},
  {
    bridge: 'br-of-mine',
    vlan: 4094,
    vlanFiltering: true,
    isGateway: true,
  },
);
test(accepts, {bridge: 'br-of-my-own', vlan: 100}, {bridge: 'br-of-my-own', vlan: 100, vlanFiltering: true});
test(refuses, {ipMasqBackend: 'ebtables'}, 'unknown ipmasq backend "ebtables"', 'iptables');
test(
  refuses,
  {exemptDestinations: ['10.0.0.0']},
  'failed to load netconf: invalid CIDR address: 10.0.0.0',
  'exemptDestinations[0]',
);
test(
  refuses,
  {portIsolation: 'true'},
  'failed to load netconf: portIsolation: expected true or false, found "true"',
);
test(refuses, {mtu: '1500'}, 'failed to load netconf: mtu: expected a number, found "1500"');
test(refuses, {mtu: 1.5}, 'failed to load netconf: mtu: expected a whole number, found 1.5');
test(refuses, {bridge: 7}, 'failed to load netconf: bridge: expected a string, found 7');
test(refuses, {ipam: 'host-local'}, 'failed to load netconf: ipam: expected an object, found "host-local"');
test(refuses, {vlanTrunk: 5}, 'failed to load netconf: vlanTrunk: expected a list, found 5');
test(
  refuses,
  {dns: {nameservers: '10.0.0.1'}},
  'failed to load netconf: dns.nameservers: expected a list, found "10.0.0.1"',
);
test(
  refuses,
  {runtimeConfig: {mac: 'xyz'}},
  'failed to load netconf: address xyz: invalid MAC address',
  'runtimeConfig.mac',
);
test(
  refuses,
  {args: {cni: {mac: '1:2'}}},
  'failed to load netconf: address 1:2: invalid MAC address',
  'args.cni.mac',
);
test(
  refuses,
  {runtimeConfig: {mac: '01:00:5e:00:00:01'}},
  'address 01:00:5e:00:00:01: invalid MAC address',
  'multicast',
);
test(
  refuses,
  {runtimeConfig: {mac: '00:00:00:00:00:00'}},
  'address 00:00:00:00:00:00: invalid MAC address',
  'zero',
);

const refusesTrunk = test.macro({
  title: (_, entry: object) => `refuses the trunk ${JSON.stringify(entry)}`,
  async exec(t, entry: object, sentence: string) {
    const call = await callFor({type: 'bridge', vlanTrunk: [{id: 5}, entry]});
    const error = t.throws(() => parseBridgeConf(call), {instanceOf: CniError});
    t.is(error.code, errorCodes.invalidConfig);
    t.true(error.message.startsWith(sentence), error.message);
    t.true(error.message.includes('vlanTrunk[1]'), error.message);
  },
});

test(refusesTrunk, {minID: 0, maxID: 10}, 'incorrect trunk minID parameter');
test(refusesTrunk, {minID: 1, maxID: 4095}, 'incorrect trunk maxID parameter');
test(refusesTrunk, {minID: 20, maxID: 10}, 'minID is greater than maxID in trunk parameter');
test(refusesTrunk, {minID: 20}, 'minID and maxID should be configured simultaneously, maxID is missing');
test(refusesTrunk, {maxID: 20}, 'minID and maxID should be configured simultaneously, minID is missing');
test(refusesTrunk, {id: 4095}, 'incorrect trunk id parameter');
test(refusesTrunk, {id: 0}, 'incorrect trunk id parameter');

const [runtime, args, environment] = ['02:00:00:00:00:01', '02:00:00:00:00:02', '02:00:00:00:00:03'];

test('the MAC comes from runtimeConfig, else args.cni, else CNI_ARGS, else from nowhere', async (t) => {
  const all = {runtimeConfig: {mac: runtime}, args: {cni: {mac: args}}};
  t.is((await parse(all, `MAC=${environment}`)).mac, runtime);
  t.is((await parse({args: all.args}, `MAC=${environment}`)).mac, args);
  t.is(
    (await parse({runtimeConfig: {mac: ''}, args: {cni: {mac: ''}}}, `MAC=${environment}`)).mac,
    environment,
  );
  t.is((await parse({}, 'MAC=')).mac, undefined);
  t.is((await parse({}, 'IgnoreUnknown=1;K8S_POD_NAME=a')).mac, undefined);
});

test('a MAC is written in any of three ways and under keys of any case', async (t) => {
  t.is((await parse({RuntimeConfig: {MAC: '02-00-00-00-00-01'}})).mac, runtime);
  t.is((await parse({Args: {CNI: {Mac: '0200.0000.0002'}}})).mac, args);
  t.is((await parse({}, 'IgnoreUnknown=true;MAC=02:00:00:00:00:03')).mac, environment);
});

test('CNI_ARGS with a key nobody knows or with a wrong MAC is refused', async (t) => {
  await t.throwsAsync(parse({}, 'MAC=zz'), {message: 'address zz: invalid MAC address'});
  const call = await callFor({type: 'bridge'}, {CNI_ARGS: 'FOO=1'});
  const error = t.throws(() => parseBridgeConf(call), {
    instanceOf: CniError,
    message: 'ARGS: unknown args ["FOO=1"]',
  });
  t.is(error.code, errorCodes.invalidEnvironment);
});

const overrides = test.macro({
  title: (_, dns: object, expected: object | undefined) =>
    `dns ${JSON.stringify(dns)} ${expected ? "replaces IPAM's" : "leaves IPAM's"}`,
  async exec(t, dns: object, expected: object | undefined) {
    t.deepEqual((await parse({dns})).dns, expected);
  },
});

test(overrides, {}, undefined);
test(overrides, {domain: ''}, undefined);
test(overrides, {nameservers: null}, undefined);
test(overrides, {nameservers: []}, {nameservers: []});
test(overrides, {search: []}, {search: []});
test(overrides, {options: ['ndots:2']}, {options: ['ndots:2']});
test(overrides, {domain: 'weft.test'}, {domain: 'weft.test'});
test(
  overrides,
  {nameservers: ['10.0.0.1'], domain: 'a', search: ['b'], options: ['c']},
  {nameservers: ['10.0.0.1'], domain: 'a', search: ['b'], options: ['c']},
);
