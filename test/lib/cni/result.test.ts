import {readFileSync} from 'node:fs';
import test from 'ava';
import {findPrevResult, parseOutput, parseResult} from '../../../lib/cni/result.ts';
import {formatResult} from '../../../lib/cni/result-format.ts';
import type {Json, Result} from '../../../lib/cni/types.ts';
import {specVersions} from '../../../lib/cni/versions.ts';
import {parseIp} from '../../../lib/ip/address.ts';
import {parseCidr} from '../../../lib/ip/cidr.ts';
import {callFor, emptyResult} from './helpers.ts';

const golden = (version: string) =>
  readFileSync(new URL(`../../fixtures/results/${version}.txt`, import.meta.url), 'utf8');
const cidr = (text: string) => parseCidr(text)!;
const ip = (text: string) => parseIp(text)!;

const whole: Result = {
  interfaces: [
    {name: 'cni0', mac: 'aa:bb:cc:00:00:01'},
    {name: 'veth1234abcd', mac: 'aa:bb:cc:00:00:02'},
    {name: 'eth0', mac: 'aa:bb:cc:00:00:03', sandbox: '/run/netns/a<b>'},
  ],
  ips: [
    {interface: 2, address: cidr('10.0.0.5/24'), gateway: ip('10.0.0.1')},
    {interface: 2, address: cidr('2001:db8::5/64'), gateway: ip('2001:db8::1')},
    {interface: 2, address: cidr('10.1.0.5/24')},
  ],
  routes: [
    {dst: cidr('0.0.0.0/0')},
    {dst: cidr('192.168.0.7/16'), gw: ip('10.0.0.9')},
    {dst: cidr('::/0'), gw: ip('2001:db8::1')},
  ],
  dns: {nameservers: ['10.0.0.1'], domain: 'a&c', search: ['x'], options: ['ndots:5']},
};

for (const version of specVersions) {
  test(`a result is printed at ${version} to the byte`, (t) => {
    t.is(formatResult(whole, version), golden(version));
  });

  test(`what is printed at ${version} reads back as far as the version can say it`, (t) => {
    const read = parseResult(JSON.parse(golden(version)) as Json, version);
    const isOld = version === '0.1.0' || version === '0.2.0';
    const expected = isOld
      ? {
          ...whole,
          interfaces: [],
          ips: whole.ips.slice(0, 2).map(({address, gateway}) => ({address, gateway: gateway!})),
        }
      : whole;
    t.deepEqual(read, expected);
    t.is(formatResult(read, version), golden(version));
  });
}

const addedIn11: Result = {
  ...emptyResult,
  interfaces: [{name: 'eth0', mtu: 1400, socketPath: '/s', pciID: '00:1f.6'}],
  ips: [{address: cidr('10.0.0.5/24')}],
  routes: [{dst: cidr('0.0.0.0/0'), mtu: 1400, advmss: 1360, priority: 7, table: 0, scope: 0}],
};
const routeAttributes = {mtu: 1400, advmss: 1360, priority: 7, table: 0, scope: 0};

for (const version of ['1.0.0', '1.1.0']) {
  test(`what 1.1.0 added is printed at ${version}`, (t) => {
    t.deepEqual(JSON.parse(formatResult(addedIn11, version)), {
      cniVersion: version,
      interfaces: [{name: 'eth0', mtu: 1400, socketPath: '/s', pciID: '00:1f.6'}],
      ips: [{address: '10.0.0.5/24'}],
      routes: [{dst: '0.0.0.0/0', ...routeAttributes}],
    });
  });
}

test('before 1.0.0 what 1.1.0 added to interfaces is left out, and to routes is kept', (t) => {
  t.deepEqual(JSON.parse(formatResult(addedIn11, '0.4.0')), {
    cniVersion: '0.4.0',
    interfaces: [{name: 'eth0'}],
    ips: [{version: '4', address: '10.0.0.5/24'}],
    routes: [{dst: '0.0.0.0/0', ...routeAttributes}],
    dns: {},
  });
  t.deepEqual(JSON.parse(formatResult(addedIn11, '0.2.0')), {
    cniVersion: '0.2.0',
    ip4: {ip: '10.0.0.5/24', routes: [{dst: '0.0.0.0/0'}]},
    dns: {},
  });
});

test('a number of a route that is 0 is not printed, except table and scope', (t) => {
  const result = {
    ...emptyResult,
    routes: [{dst: cidr('::/0'), mtu: 0, advmss: 0, priority: 0, table: 0, scope: 0}],
  };
  t.deepEqual(JSON.parse(formatResult(result, '1.1.0')), {
    cniVersion: '1.1.0',
    routes: [{dst: '::/0', scope: 0, table: 0}],
  });
});

test('dns is printed empty up to 0.4.0, and not at all from 1.0.0 on', (t) => {
  t.is(formatResult(emptyResult, '0.3.0'), '{\n    "cniVersion": "0.3.0",\n    "dns": {}\n}');
  t.is(formatResult(emptyResult, '1.0.0'), '{\n    "cniVersion": "1.0.0"\n}');
  t.is(
    formatResult({...emptyResult, dns: {domain: '', search: []}}, '1.1.0'),
    '{\n    "cniVersion": "1.1.0"\n}',
  );
});

test('the oldest versions keep one address per family, and routes of families with an address', (t) => {
  const result = {...whole, ips: whole.ips.slice(1, 2)};
  const printed = JSON.parse(formatResult(result, '0.2.0')) as object;
  t.deepEqual(Object.keys(printed), ['cniVersion', 'ip6', 'dns']);
  t.like(printed, {ip6: {ip: '2001:db8::5/64', routes: [{dst: '::/0', gw: '2001:db8::1'}]}});
});

for (const version of ['0.1.0', '0.2.0']) {
  test(`a result without addresses cannot be said at ${version}`, (t) => {
    t.throws(() => formatResult({...whole, ips: []}, version), {
      message: 'cannot convert: no valid IP addresses',
    });
  });
}

const wrongFamilies: readonly (readonly [config: string, result: string, list: string])[] = [
  ['1.0.0', '0.4.0', '1.0.0 1.1.0'],
  ['1.1.0', '0.2.0', '1.0.0 1.1.0'],
  ['0.4.0', '1.0.0', '0.3.0 0.3.1 0.4.0'],
  ['0.4.0', '0.2.0', '0.3.0 0.3.1 0.4.0'],
  ['0.2.0', '0.4.0', ' 0.1.0 0.2.0'],
  ['1.0.0', '9.9', '1.0.0 1.1.0'],
];

for (const [config, result, list] of wrongFamilies) {
  test(`a prevResult of ${result} is refused for a configuration of ${config}`, async (t) => {
    const call = await callFor({cniVersion: config, prevResult: {cniVersion: result}}).catch(() => undefined);
    // The fake plugin's own empty result cannot be printed at 0.2.0, though the call was made.
    const prev = call ?? {...(await callFor({prevResult: {cniVersion: result}})), cniVersion: config};
    t.throws(() => findPrevResult(prev), {
      message: `could not parse prevResult: result type supports [${list}] but unmarshalled CNIVersion is "${result}"`,
      code: 7 as never,
    });
  });
}

for (const [config, result] of [
  ['0.3.1', '0.4.0'],
  ['1.1.0', '1.0.0'],
  ['1.0.0', ''],
] as const) {
  test(`a prevResult of ${result || 'no version'} is read for a configuration of ${config}`, async (t) => {
    const call = await callFor({
      cniVersion: config,
      PrevResult: {CNIVersion: result, interfaces: [{name: 'x'}]},
    });
    t.deepEqual(findPrevResult(call)?.interfaces, [{name: 'x'}]);
  });
}

const unreadable: readonly (readonly [Json, string])[] = [
  [5, 'the result is not an object'],
  [[], 'the result is not an object'],
  [{ips: 5}, 'ips: expected a list, found 5'],
  [{ips: [{address: 'x'}]}, 'invalid CIDR address: x at ips[0].address'],
  [{ips: [{address: '10.0.0.1/8', gateway: 'y'}]}, 'invalid IP address: y at ips[0].gateway'],
  [{ips: [{}]}, 'ips[0].address: expected a string, found nothing'],
  [{interfaces: [{name: 1}]}, 'interfaces[0].name: expected a string, found 1'],
  [{routes: [{dst: '0.0.0.0/0', mtu: 1.5}]}, 'routes[0].mtu: expected a whole number, found 1.5'],
];

for (const [prevResult, message] of unreadable) {
  test(`the prevResult ${JSON.stringify(prevResult)} is refused, but not by DEL`, async (t) => {
    const call = await callFor({prevResult});
    t.throws(() => findPrevResult(call), {message: `could not parse prevResult: ${message}`});
    const warnings: string[] = [];
    const del = {...call, command: 'DEL' as const, warn: (text: string) => void warnings.push(text)};
    t.is(findPrevResult(del), undefined);
    t.deepEqual(warnings, [`could not parse prevResult: ${message}; cleaning up without it`]);
  });
}

test('without a prevResult, or with null, there is none', async (t) => {
  t.is(findPrevResult(await callFor({})), undefined);
  t.is(findPrevResult(await callFor({prevResult: null})), undefined);
});

test('the output of a plugin may lack a version, and may be null', (t) => {
  const output = parseOutput('{"ip4":{"ip":"10.0.0.2/24"}}', '0.2.0');
  t.deepEqual(output, {version: '0.2.0', result: {...emptyResult, ips: [{address: cidr('10.0.0.2/24')}]}});
  t.deepEqual(parseOutput('null', '1.0.0'), {version: '1.0.0', result: emptyResult});
  t.is(parseOutput('{"cniVersion":"0.4.0"}', '1.0.0').version, '0.4.0');
  t.throws(() => parseOutput('oops', '1.0.0'), {message: /^failed to unmarshal raw result: .* result oops$/});
  t.throws(() => parseOutput('{"cniVersion":"7.0.0"}', '1.0.0'), {
    message: 'unsupported CNI result version "7.0.0"',
  });
});
