import test from 'ava';
import {plugin} from '../../../plugins/static/plugin.ts';
import {environment, run} from '../../lib/cni/helpers.ts';

interface Reply {
  readonly code?: number;
  readonly msg?: string;
  readonly ips?: readonly {readonly address: string; readonly gateway?: string}[];
}

async function call(command: string, conf: object, args?: string): Promise<Reply> {
  const env = environment({CNI_COMMAND: command, CNI_ARGS: args});
  const stdin = JSON.stringify({cniVersion: '1.1.0', name: 'net1', type: 'bridge', ...conf});
  // None of its verbs touches the kernel.
  const {stdout} = await run(plugin, {env, stdin});
  return stdout === '' ? {} : (JSON.parse(stdout) as Reply);
}

const ipam = {
  type: 'static',
  addresses: [{address: '10.1.0.7/24', gateway: '10.1.0.1'}, {address: 'fd00::7/64'}],
  routes: [{dst: '0.0.0.0/0'}, {dst: 'fd01::/64', gw: 'fd00::1', mtu: 1400, table: 7}],
  dns: {nameservers: ['10.1.0.1'], domain: 'example.org'},
};

test('ADD answers what the configuration says', async (t) => {
  t.deepEqual(await call('ADD', {ipam}), {
    cniVersion: '1.1.0',
    ips: [{address: '10.1.0.7/24', gateway: '10.1.0.1'}, {address: 'fd00::7/64'}],
    routes: [{dst: '0.0.0.0/0'}, {dst: 'fd01::/64', gw: 'fd00::1', mtu: 1400, table: 7}],
    dns: {nameservers: ['10.1.0.1'], domain: 'example.org'},
  } as never);
});

test('keys in any case; null and unknown ones are none', async (t) => {
  const odd = {Type: 'static', ADDRESSES: [{Address: '10.1.0.7/24', GateWay: null, more: 1}], routes: null};
  t.deepEqual((await call('ADD', {IPAM: odd})).ips, [{address: '10.1.0.7/24'}]);
});

const gives = test.macro({
  title: (name = '') => name,
  async exec(t, conf: object, args: string, expected: readonly string[]) {
    const {ips = [], msg} = await call('ADD', {ipam, ...conf}, args);
    t.is(msg, undefined);
    t.deepEqual(
      ips.map(({address, gateway}) => (gateway ? `${address} via ${gateway}` : address)),
      expected,
    );
  },
});

const configured = ['10.1.0.7/24 via 10.1.0.1', 'fd00::7/64'];
const fromArgs = {args: {cni: {ips: ['10.3.0.3/24']}}};
const fromRuntime = {runtimeConfig: {ips: ['10.4.0.4/24', 'fd04::4/64']}};

test('IP adds addresses', gives, {}, 'IP=10.2.0.2/16, fd02::2/64', [
  ...configured,
  '10.2.0.2/16',
  'fd02::2/64',
]);
test('GATEWAY counts for the addresses whose subnet it is in', gives, {}, 'GATEWAY=10.1.0.254, fd00::1', [
  '10.1.0.7/24 via 10.1.0.254',
  'fd00::7/64 via fd00::1',
]);
test(
  'GATEWAY counts for those of IP, too',
  gives,
  {ipam: {type: 'static'}},
  'IP=10.2.0.2/16;GATEWAY=10.2.0.1,10.9.0.1',
  ['10.2.0.2/16 via 10.2.0.1'],
);
test('args.cni.ips replace the addresses', gives, fromArgs, 'IP=10.2.0.2/16', ['10.3.0.3/24']);
test('runtimeConfig.ips replace them all', gives, {...fromArgs, ...fromRuntime}, 'IP=10.2.0.2/16', [
  '10.4.0.4/24',
  'fd04::4/64',
]);
test(
  'empty lists replace nothing',
  gives,
  {args: {cni: {ips: []}}, runtimeConfig: {ips: []}},
  '',
  configured,
);
test(
  'what is replaced may be nonsense',
  gives,
  {ipam: {type: 'static', addresses: [{address: 'nonsense'}]}, ...fromRuntime},
  '',
  ['10.4.0.4/24', 'fd04::4/64'],
);
test('no address is no error', gives, {ipam: {type: 'static'}}, '', []);
test('arguments of others pass with IgnoreUnknown', gives, {}, 'IgnoreUnknown=1;K8S_POD_NAME=a', configured);

const refuses = test.macro({
  title: (name = '') => name,
  async exec(t, conf: object, args: string, expected: {readonly code: number; readonly msg: string}) {
    const {code, msg} = await call('ADD', {ipam, ...conf}, args);
    t.deepEqual({code, msg}, expected);
  },
});

const addresses = (address: unknown) => ({ipam: {type: 'static', addresses: [{address}]}});

test('without ipam', refuses, {ipam: null}, '', {code: 7, msg: "IPAM config missing 'ipam' key"});
test('an address without prefix', refuses, addresses('10.1.0.7'), '', {
  code: 7,
  msg: "the 'address' field is expected to be in CIDR notation, got: '10.1.0.7'",
});
test('an address that is missing', refuses, {ipam: {type: 'static', addresses: [{}]}}, '', {
  code: 7,
  msg: "the 'address' field is expected to be in CIDR notation, got: ''",
});
test('an address that is a number', refuses, addresses(7), '', {
  code: 7,
  msg: 'failed to load netconf: ipam.addresses[0].address: expected a string, found 7',
});
test(
  'a gateway that is none',
  refuses,
  {ipam: {type: 'static', addresses: [{address: '10.1.0.7/24', gateway: 'x'}]}},
  '',
  {code: 7, msg: 'failed to load netconf: invalid IP address: x'},
);
for (const where of [{args: {cni: {ips: ['10.3.0.3']}}}, {runtimeConfig: {ips: ['10.3.0.3']}}])
  test(`${Object.keys(where).join('')}.ips without prefix`, refuses, where, '', {
    code: 7,
    msg: "an entry in the 'ips' field is NOT in CIDR notation, got: '10.3.0.3'",
  });
test('IP without prefix', refuses, {}, 'IP=10.3.0.3', {
  code: 4,
  msg: "the 'ip' field is expected to be in CIDR notation, got: '10.3.0.3'",
});
test('GATEWAY that is none', refuses, {}, 'GATEWAY=10.3.0', {
  code: 4,
  msg: 'invalid gateway address: 10.3.0',
});
test('an unknown argument', refuses, {}, 'MAC=02:00:00:00:00:01', {
  code: 4,
  msg: 'ARGS: unknown args ["MAC=02:00:00:00:00:01"]',
});
const two = [{address: 'fd00::7/64'}, {address: 'fd00::8/64'}];
test(
  'two addresses of a family with an old version',
  refuses,
  {cniVersion: '0.2.0', ipam: {addresses: two}},
  '',
  {
    code: 7,
    msg: 'CNI version 0.2.0 does not support more than 1 address per family',
  },
);

test('one address of each family is possible with an old version', async (t) => {
  t.is((await call('ADD', {cniVersion: '0.2.0', ipam})).code, undefined);
});

const previous = (gateway?: string) => ({
  prevResult: {
    cniVersion: '1.1.0',
    interfaces: [{name: 'eth0', sandbox: '/proc/1/ns/net'}],
    ips: [{address: '10.1.0.7/24', interface: 0, ...(gateway && {gateway})}],
  },
});

test('CHECK compares gateways; an address that the container has not got is no error', async (t) => {
  t.deepEqual(await call('CHECK', {ipam, ...previous('10.1.0.1')}), {});
  const {code, msg} = await call('CHECK', {ipam, ...previous('10.1.0.2')});
  t.is(code, 999);
  t.is(
    msg,
    'static: Failed to match addr 10.1.0.7 on interface eth0: ' +
      'its gateway is 10.1.0.1 by the configuration, 10.1.0.2 by prevResult',
  );
  t.regex(
    (await call('CHECK', {ipam, ...previous()})).msg ?? '',
    /10\.1\.0\.1 by the configuration, none by/,
  );
});

test('CHECK needs a previous result', async (t) => {
  t.is((await call('CHECK', {ipam})).msg, 'Required prevResult missing');
});

for (const command of ['DEL', 'GC', 'STATUS'])
  test(`${command} succeeds, whatever the configuration is`, async (t) => {
    const conf = {ipam: {type: 'static', addresses: 7}, 'cni.dev/valid-attachments': []};
    t.deepEqual(await call(command, conf), {});
  });
