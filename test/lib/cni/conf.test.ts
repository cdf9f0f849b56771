import test from 'ava';
import * as z from 'zod/mini';
import {z as classic} from 'zod';
import {parseConf} from '../../../lib/cni/conf.ts';
import type {CniError} from '../../../lib/cni/error.ts';
import {cidrField, ipField, macField, routeField} from '../../../lib/cni/fields.ts';
import {findIpamType} from '../../../lib/cni/ipam-type.ts';
import type {Call} from '../../../lib/cni/plugin.ts';
import {prepareShape, readShape} from '../../../lib/cni/shape.ts';
import {formatIp} from '../../../lib/ip/address.ts';
import {formatCidr} from '../../../lib/ip/cidr.ts';
import {callFor} from './helpers.ts';

const schema = prepareShape(
  z.object({
    bridge: z._default(z.string(), 'cni0'),
    mtu: z._default(z.int().check(z.minimum(0)), 0),
    isGateway: z._default(z.boolean(), false),
    mode: z.optional(z.enum(['bridge', 'private'])),
    mac: z.optional(macField),
    vlanTrunk: z.optional(z.array(z.object({minID: z.optional(z.int()), maxID: z.optional(z.int())}))),
    sysctl: z.optional(z.record(z.string(), z.string())),
    ipam: z.optional(
      z.object({
        type: z.optional(z.string()),
        subnet: z.optional(cidrField),
        gateway: z.optional(ipField),
        routes: z.optional(z.array(routeField)),
      }),
    ),
    runtimeConfig: z.optional(z.looseObject({mac: z.optional(z.string())})),
  }),
);

const reads = test.macro(async (t, conf: object, expected: object) => {
  t.like(parseConf(await callFor(conf), schema), expected);
});

test('defaults apply', reads, {}, {bridge: 'cni0', mtu: 0, isGateway: false});
test(
  'keys match in any case',
  reads,
  {BRIDGE: 'x', ISGATEWAY: true, Mtu: 5},
  {bridge: 'x', isGateway: true, mtu: 5},
);
test('of several spellings the later wins', reads, {bridge: 'a', BRIDGE: 'b', Bridge: 'c'}, {bridge: 'c'});
test('the order in the document decides, not the spelling', reads, {Bridge: 'c', bridge: 'a'}, {bridge: 'a'});
test(
  'objects of several spellings merge',
  reads,
  {ipam: {type: 'a', gateway: ''}, IPAM: {Type: 'b'}, Ipam: {TYPE: null}},
  {ipam: {type: 'b', gateway: undefined}},
);
test(
  'null leaves the default',
  reads,
  {bridge: null, mtu: null, ipam: null},
  {bridge: 'cni0', mtu: 0, ipam: undefined},
);
test('null does not undo an earlier spelling', reads, {bridge: 'a', BRIDGE: null}, {bridge: 'a'});
test(
  'keys inside lists match in any case',
  reads,
  {vlanTrunk: [{MINID: 1, maxid: null}]},
  {vlanTrunk: [{minID: 1, maxID: undefined}]},
);
test(
  'keys of a record are values: their case is kept',
  reads,
  {SysCtl: {'Net.X': '1'}},
  {sysctl: {'Net.X': '1'}},
);
test(
  'an open object keeps what it does not know',
  reads,
  {runtimeConfig: {MAC: 'x', portMappings: [null]}},
  {runtimeConfig: {mac: 'x', portMappings: [null]}},
);
test('unknown keys are ignored', reads, {whatever: {x: [1]}, '': 1}, {bridge: 'cni0'});
test('a MAC address is brought into one form', reads, {mac: 'AABB.CCDD.EEFF'}, {mac: 'aa:bb:cc:dd:ee:ff'});
test('an empty MAC address is none', reads, {mac: ''}, {mac: undefined});

test('addresses become values', async (t) => {
  const ipam = {subnet: '10.0.0.7/24', gateway: '::ffff:10.0.0.1', routes: [{dst: '2001:DB8::/32', gw: ''}]};
  const conf = parseConf(await callFor({ipam}), schema);
  t.is(formatCidr(conf.ipam!.subnet!), '10.0.0.7/24');
  t.is(formatIp(conf.ipam!.gateway!), '10.0.0.1');
  t.is(formatCidr(conf.ipam!.routes![0]!.dst), '2001:db8::/32');
  t.is(conf.ipam!.routes![0]!.gw, undefined);
});

test('a key named __proto__ changes nothing', async (t) => {
  const call = await callFor({});
  const conf = JSON.parse(
    '{"name":"n","__proto__":{"mtu":7},"runtimeConfig":{"__proto__":{"x":1}}}',
  ) as never;
  const parsed = parseConf({...call, conf}, schema);
  t.is(parsed.mtu, 0);
  t.is((parsed.runtimeConfig as {x?: number}).x, undefined);
});

test('a schema of the whole of zod is read the same way', async (t) => {
  const whole = classic.object({
    mtu: classic.int().default(0),
    ipam: classic.looseObject({type: classic.string()}).optional(),
  });
  t.deepEqual(parseConf(await callFor({MTU: 9, IPAM: {Type: 'x', y: 1}}), whole), {
    mtu: 9,
    ipam: {type: 'x', y: 1},
  });
});

const refuses = test.macro(async (t, conf: object, message: string, details?: string) => {
  const call = await callFor(conf);
  const error = t.throws<CniError>(() => parseConf(call, schema));
  t.is(error?.message, `failed to load netconf: ${message}`);
  t.is(error?.details, details ?? '');
  t.is(error?.code, 7);
});

test('refuses text for a number', refuses, {mtu: '1500'}, 'mtu: expected a number, found "1500"');
test('refuses a fraction', refuses, {MTU: 1.5}, 'mtu: expected a whole number, found 1.5');
test('refuses a number that is too small', refuses, {mtu: -1}, 'mtu: expected at least 0, found -1');
test(
  'refuses text for a flag',
  refuses,
  {isGateway: 'true'},
  'isGateway: expected true or false, found "true"',
);
test('refuses a list for text', refuses, {bridge: ['a']}, 'bridge: expected a string, found ["a"]');
test('refuses text for an object', refuses, {ipam: 'x'}, 'ipam: expected an object, found "x"');
test('refuses an object for a list', refuses, {vlanTrunk: {}}, 'vlanTrunk: expected a list, found {}');
test('refuses null in a list', refuses, {vlanTrunk: [null]}, 'vlanTrunk[0]: expected an object, found null');
test('refuses another word', refuses, {mode: 'x'}, 'mode: expected one of "bridge", "private", found "x"');
test(
  'cuts long values',
  refuses,
  {mtu: 'x'.repeat(99)},
  `mtu: expected a number, found "${'x'.repeat(56)}...`,
);
test(
  'names the path',
  refuses,
  {vlanTrunk: [{}, {minID: 'x'}]},
  'vlanTrunk[1].minID: expected a number, found "x"',
);
test('refuses a subnet', refuses, {ipam: {subnet: '10/8'}}, 'invalid CIDR address: 10/8', 'at ipam.subnet');
test(
  'refuses an address',
  refuses,
  {ipam: {gateway: '010.0.0.1'}},
  'invalid IP address: 010.0.0.1',
  'at ipam.gateway',
);
test(
  'refuses a route',
  refuses,
  {ipam: {routes: [{dst: ''}]}},
  'invalid CIDR address: ',
  'at ipam.routes[0].dst',
);
test('refuses a MAC address', refuses, {mac: 'aa:bb'}, 'address aa:bb: invalid MAC address', 'at mac');

const warns = test.macro(
  async (t, conf: object, expected: readonly string[], command: 'ADD' | 'STATUS' = 'ADD') => {
    const warnings: string[] = [];
    const call = await callFor(conf);
    parseConf({...call, command, warn: (message) => void warnings.push(message)}, schema);
    t.deepEqual(
      warnings,
      expected.map((text) => `network "net1": unknown key ${text}`),
    );
  },
);

test('warns of a swapped letter', warns, {brdige: 'x'}, ['"brdige" is ignored; did you mean "bridge"?']);
test('warns of a missing letter', warns, {isGatway: true}, [
  '"isGatway" is ignored; did you mean "isGateway"?',
]);
test('warns of two slips in a long key', warns, {izGatway: true}, [
  '"izGatway" is ignored; did you mean "isGateway"?',
]);
test('warns below the top', warns, {ipam: {subent: 'x'}}, [
  '"ipam.subent" is ignored; did you mean "subnet"?',
]);
test('warns in lists', warns, {vlanTrunk: [{minIDs: 1}]}, [
  '"vlanTrunk[0].minIDs" is ignored; did you mean "minID"?',
]);
test('does not warn of three slips', warns, {izGatwy: true}, []);
test('warns of one slip only in a short key', warns, {mtv: 1, mxv: 2}, [
  '"mtv" is ignored; did you mean "mtu"?',
]);
test('does not warn of common keys', warns, {dns: {}, capabilities: {}, 'cni.dev/x': 1, 'mtu.x': 1}, []);
test('does not warn in open objects', warns, {runtimeConfig: {mca: 1}}, []);
test('does not warn runtimes that ask for STATUS every few seconds', warns, {brdige: 'x'}, [], 'STATUS');

for (const conf of [
  {ipam: {type: 'a', x: 1}, IPAM: {y: 2}},
  {ipam: {type: 'a'}, Ipam: {Type: null}, IPAM: null},
  {ipam: {type: 'x'}, IPAM: {TYPE: 'a'}},
  {ipam: {type: 'x', TYPE: 'y'}, IPAM: {type: 'a'}},
] as const) {
  test(`DEL knows the IPAM plugin that ADD does: ${JSON.stringify(conf)}`, (t) => {
    const schema = z.object({ipam: z.looseObject({type: z.string()})});
    t.is(findIpamType({conf} as unknown as Call), 'a');
    t.is(readShape(schema, conf).ipam.type, 'a');
  });
}
