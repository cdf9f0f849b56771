import test from 'ava';
import {CniError} from '../../../lib/cni/error.ts';
import type {Call} from '../../../lib/cni/plugin.ts';
import {parseDiscoveryConf, type DiscoveryConf} from '../../../plugins/discovery/conf.ts';
import {callFor} from '../../lib/cni/helpers.ts';

async function parse(conf: object, more: Partial<Call> = {}): Promise<DiscoveryConf> {
  const call = await callFor({cniVersion: '1.0.0', type: 'discovery', ...conf});
  return parseDiscoveryConf({...call, ...more});
}

const namesOf = async (conf: object, args = '') => (await parse(conf, {args})).names;

test('a network has a zone of its own name, or the one that is given', async (t) => {
  t.is((await parse({})).domain, 'net1.weft.internal');
  t.is((await parse({}, {name: 'My Net/2'})).domain, 'my-net-2.weft.internal');
  t.is((await parse({domainName: 'Foobar.com.'})).domain, 'foobar.com');
});

test('names come from every source, each once and in lower case', async (t) => {
  const args = 'IgnoreUnknown=1;K8S_POD_NAMESPACE=default;K8S_POD_NAME=Web;K8S_POD_UID=1';
  t.deepEqual(await namesOf({}, args), ['web', 'web.default']);
  t.deepEqual(await namesOf({}, 'K8S_POD_NAME=web;K8S_POD_NAMESPACE=web'), ['web']);
  t.deepEqual(await namesOf({}, 'NERDCTL_CNI_DHCP_HOSTNAME=db'), ['db']);
  t.deepEqual(await namesOf({argNameKey: 'TASK'}, 'TASK=job'), ['job']);
  t.deepEqual(await namesOf({runtimeConfig: {aliases: ['A', 'b', 'a']}}), ['a', 'b']);
  t.deepEqual(await namesOf({runtimeConfig: {aliases: {net1: ['a'], other: ['b']}}}), ['a']);
  t.deepEqual(await namesOf({runtimeConfig: {aliases: null}}), []);
  const annotations = {'weft.dev/aliases': 'www, api', 'my/names': 'own'};
  const runtimeConfig = {'io.kubernetes.cri.pod-annotations': annotations};
  t.deepEqual(await namesOf({runtimeConfig}), ['www', 'api']);
  t.deepEqual(await namesOf({runtimeConfig, aliasAnnotation: 'my/names'}), ['own']);
  const labels = [
    {key: 'weft.dev/name', value: 'web'},
    {key: 'app', value: 'x'},
  ];
  t.deepEqual(await namesOf({args: {cni: {labels}}}), ['web']);
});

test('what a runtime made up and is no name is left out with a warning', async (t) => {
  const warnings: string[] = [];
  const warn = (message: string) => void warnings.push(message);
  t.deepEqual((await parse({}, {args: 'K8S_POD_NAME=-x', warn})).names, []);
  t.is(warnings.length, 1);
  t.regex(warnings[0]!, /"-x" gets no name in DNS: "-x" begins or ends with "-"/);
});

test('ports come from the configuration and from port mappings', async (t) => {
  const {ports} = await parse({
    ports: [{name: 'HTTP', port: 80}],
    runtimeConfig: {portMappings: [{hostPort: 8080, containerPort: 53, protocol: 'UDP'}]},
  });
  t.deepEqual(ports, [
    {name: 'http', protocol: 'tcp', port: 80},
    {protocol: 'udp', port: 53},
  ]);
});

const refuses = test.macro({
  title: (_, conf: object) => `refuses ${JSON.stringify(conf)}`,
  async exec(t, conf: object, message: RegExp) {
    const error = await t.throwsAsync(parse(conf), {instanceOf: CniError});
    t.is(error?.code, 7);
    t.regex(error?.message ?? '', message);
  },
});

test(refuses, {domainName: 'a..b'}, /domainName: "a\.\.b" is no domain/);
test(refuses, {ttl: -1}, /ttl/);
test(refuses, {upstreams: ['x']}, /upstreams: "x" is no address/);
test(refuses, {ports: [{port: 0}]}, /ports\[0\]: 0 is no port/);
test(refuses, {ports: [{port: 1, protocol: 'x'}]}, /ports\[0\]\.protocol: "x" is none of/);
test(refuses, {ports: [{port: 1, name: 'a.b'}]}, /ports\[0\]\.name: "a\.b" is no name of a port/);
test(refuses, {runtimeConfig: {aliases: ['a b']}}, /runtimeConfig\.aliases: "a b" is no name/);
test(refuses, {runtimeConfig: {aliases: 7}}, /runtimeConfig\.aliases: expected a list/);
