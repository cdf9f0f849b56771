import {readFileSync} from 'node:fs';
import test from 'ava';
import {CniError} from '../../../lib/cni/error.ts';
import {formatIp} from '../../../lib/ip/address.ts';
import {formatCidr} from '../../../lib/ip/cidr.ts';
import {parsePortmapConf} from '../../../plugins/portmap/conf.ts';
import {planForwards} from '../../../plugins/portmap/mapping.ts';
import {findMappings} from '../../../plugins/portmap/teardown.ts';
import {callFor} from '../../lib/cni/helpers.ts';

const web = {hostPort: 8080, containerPort: 80, protocol: 'tcp'};
const prevResult = {
  cniVersion: '1.0.0',
  interfaces: [{name: 'cni0'}, {name: 'veth1'}, {name: 'eth0', sandbox: '/n'}, {name: 'eth1', sandbox: '/n'}],
  ips: [
    {address: '10.0.0.1/24', interface: 0},
    {address: '10.9.0.2/24', interface: 3},
    {address: '10.1.0.2/24', interface: 2},
    {address: '10.1.0.3/24', interface: 2},
    {address: 'fd00::2/64'},
  ],
};
const parse = async (conf: object) => parsePortmapConf(await callFor(conf));
const mapped = (...portMappings: object[]) => ({prevResult, runtimeConfig: {portMappings}});

test('the defaults are those of the reference, but for the backend', async (t) => {
  const conf = await parse({});
  t.like(conf, {backend: undefined, snat: true, masqAll: false, markBit: 13, mappings: [], containers: {}});
  t.deepEqual(conf.owner, {network: 'net1', containerId: 'container1', ifName: 'eth0'});
  t.is(conf.previous, undefined);
});

test('the container is the first address of each family on CNI_IFNAME, or without an interface', async (t) => {
  const {containers} = await parse({prevResult});
  t.is(formatCidr(containers[4]!), '10.1.0.2/24');
  t.is(formatCidr(containers[6]!), 'fd00::2/64');
});

test('results without interfaces will do', async (t) => {
  const old = {cniVersion: '0.2.0', ip4: {ip: '10.1.0.2/24'}};
  const {containers} = await parse({cniVersion: '0.2.0', prevResult: old});
  t.is(formatCidr(containers[4]!), '10.1.0.2/24');
});

test('mappings, in any spelling that runtimes use', async (t) => {
  const conf = await parse(
    mapped(web, {HostPort: 53, containerport: 5353, protocol: 'UDP'}, {hostPort: 1, containerPort: 2}),
  );
  t.deepEqual(
    conf.mappings.map(({hostPort, containerPort, protocol}) => [hostPort, containerPort, protocol]),
    [
      [8080, 80, 'tcp'],
      [53, 5353, 'udp'],
      [1, 2, 'tcp'],
    ],
  );
});

test('an address of the host restricts a mapping to its family, also the one that stands for all', async (t) => {
  const conf = await parse(
    mapped(
      {...web, hostPort: 1, hostIP: '192.0.2.1'},
      {...web, hostPort: 2, hostIP: '2001:db8::1'},
      {...web, hostPort: 3, hostIP: '0.0.0.0'},
      {...web, hostPort: 4, hostIP: '::'},
      {...web, hostPort: 5, hostIP: ''},
    ),
  );
  const forwards = planForwards(conf.mappings, conf.containers);
  t.deepEqual(
    forwards.map(({family, hostPort, hostIp}) => [family, hostPort, hostIp && formatIp(hostIp)]),
    [
      [4, 1, '192.0.2.1'],
      [4, 3, undefined],
      [4, 5, undefined],
      [6, 2, '2001:db8::1'],
      [6, 4, undefined],
      [6, 5, undefined],
    ],
  );
});

const refuses = test.macro(async (t, conf: object, msg: string | RegExp, details: RegExp = /./) => {
  const error = await t.throwsAsync(parse(conf), {instanceOf: CniError});
  t.is(error.code, 7);
  if (typeof msg === 'string') t.is(error.message, `failed to parse config: ${msg}`);
  else t.regex(error.message, msg);
  t.regex(error.details, details);
});

const conditional = (conditionsV4: string[], more = {}) => ({conditionsV4, ...more});

test('host port 0', refuses, mapped({...web, hostPort: 0}), 'Invalid host port number: 0');
test('container port 0', refuses, mapped({...web, containerPort: 0}), 'Invalid container port number: 0');
test('a port too high', refuses, mapped({...web, hostPort: 65_536}), 'Invalid host port number: 65536');
test('a negative port', refuses, mapped({...web, containerPort: -1}), 'Invalid container port number: -1');
test('no port at all', refuses, mapped({}), 'Invalid container port number: 0');
test(
  'an unknown protocol',
  refuses,
  mapped({...web, protocol: 'icmp'}),
  'Invalid protocol: "icmp"',
  /tcp, udp, sctp/,
);
test('no address', refuses, mapped({...web, hostIP: 'here'}), 'invalid IP address: here');
test('an unknown backend', refuses, {backend: 'pf'}, 'unrecognized backend "pf"', /"nftables".*"iptables"/);
test('a mark bit too high', refuses, {markMasqBit: 32}, 'MasqMarkBit must be between 0 and 31', /32/);
test('a negative mark bit', refuses, {markMasqBit: -1}, 'MasqMarkBit must be between 0 and 31');
test(
  'a mark bit and a chain',
  refuses,
  {markMasqBit: 1, externalSetMarkChain: 'C'},
  'Cannot specify externalSetMarkChain and markMasqBit',
);
test(
  'conditions of nft for iptables',
  refuses,
  conditional(['ip', 'saddr', '10.0.0.1'], {backend: 'iptables'}),
  'iptables backend was requested but configuration contains nftables-specific options [conditionsV4]',
);
test(
  'keys of iptables for nftables',
  refuses,
  conditional(['-s', '10.0.0.1'], {backend: 'nftables', externalSetMarkChain: 'C'}),
  'nftables backend was requested but configuration contains iptables-specific options [externalSetMarkChain conditionsV4]',
);
test(
  'keys of both',
  refuses,
  {conditionsV4: ['-s', '10.0.0.1'], conditionsV6: ['ip6', 'saddr', '::1']},
  'iptables backend was requested but configuration contains nftables-specific options [conditionsV6]',
);
test(
  'a condition that is not understood',
  refuses,
  conditional(['limit rate 10/second']),
  'conditionsV4: "limit" is not understood in "limit rate 10/second"',
  /understood are: ip\|ip6 saddr\|daddr/,
);
test(
  'a wrong type',
  refuses,
  {snat: 'yes'},
  /^failed to parse config: .*snat: expected true or false, found "yes"/,
  /^/,
);
test(
  'a previous result of another version',
  refuses,
  {prevResult: {cniVersion: '0.4.0'}},
  /could not parse prevResult: result type supports \[1\.0\.0 1\.1\.0\]/,
  /^/,
);

test('the backend follows from keys that only iptables knows', async (t) => {
  t.is((await parse({markMasqBit: 5})).backend, 'iptables');
  t.is((await parse({externalSetMarkChain: 'KUBE-MARK-MASQ'})).backend, 'iptables');
  t.is((await parse({externalSetMarkChain: ''})).backend, undefined);
  const conf = await parse({conditionsV4: ['!', '-d', '192.0.2.1']});
  t.is(conf.backend, 'iptables');
  t.deepEqual(conf.matches[4], ['!', '-d', '192.0.2.1']);
  t.is(conf.conditions[4], undefined);
  t.is((await parse({conditionsV4: [], conditionsV6: ['']})).backend, undefined);
  t.truthy((await parse({conditionsV4: ['ct state new']})).conditions[4]);
});

test('a DEL reads what it can of its mappings, without complaint', async (t) => {
  const mappings = async (runtimeConfig: unknown) =>
    findMappings(await callFor({backend: 'pf', runtimeConfig})).map(({hostPort}) => hostPort);
  t.deepEqual(
    await mappings({portMappings: [web, {...web, hostPort: 0}, 'x', {...web, protocol: 'pigeon'}]}),
    [8080],
  );
  t.deepEqual(await mappings({PortMappings: [{...web, containerPort: 'x'}]}), [8080]);
  for (const none of [undefined, {}, 7, {portMappings: {}}, {portMappings: null}])
    t.deepEqual(await mappings(none), []);
});

test("the page's configuration and the one in conf/ are taken", async (t) => {
  const page = readFileSync(new URL('../../../plugins/portmap/README.md', import.meta.url), 'utf8');
  const json = /```json\n([^`]*)```/.exec(page)?.[1] ?? '';
  const {plugins} = JSON.parse(json) as {plugins: {type: string}[]};
  const file = readFileSync(new URL('../../../conf/ports.conflist', import.meta.url), 'utf8');
  t.deepEqual(JSON.parse(file), JSON.parse(json));
  const conf = await parse({...plugins.find(({type}) => type === 'portmap'), ...mapped(web)});
  t.is(conf.mappings.length, 1);
});
