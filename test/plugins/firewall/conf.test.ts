import test from 'ava';
import {CniError, errorCodes} from '../../../lib/cni/error.ts';
import {
  bridgeOf,
  findTeardownConf,
  parseFirewallConf,
  requirePrevResult,
} from '../../../plugins/firewall/conf.ts';
import type {FirewallConf} from '../../../plugins/firewall/conf.ts';
import {plugin} from '../../../plugins/firewall/plugin.ts';
import {callFor} from '../../lib/cni/helpers.ts';

async function parse(conf: object): Promise<FirewallConf> {
  return parseFirewallConf(await callFor({type: 'firewall', ...conf}));
}

const defaults: FirewallConf = {
  owner: {network: 'net1', containerId: 'container1', ifName: 'eth0'},
  backend: undefined,
  adminChain: 'CNI-ADMIN',
  zone: 'trusted',
  policy: undefined,
  mark: 0x1000,
};

test('every key has its default, also for null and for an empty text', async (t) => {
  t.deepEqual(await parse({}), defaults);
  for (const value of [null, '']) {
    const conf = {backend: value, iptablesAdminChainName: value, firewalldZone: value, ingressPolicy: value};
    t.deepEqual(await parse({...conf, markBit: null}), defaults);
  }
});

const accepts = test.macro({
  title: (_, conf: object) => `takes ${JSON.stringify(conf)}`,
  async exec(t, conf: object, expected: Partial<FirewallConf>) {
    t.deepEqual(await parse(conf), {...defaults, ...expected});
  },
});

for (const backend of ['nftables', 'iptables', 'firewalld'] as const) test(accepts, {backend}, {backend});
test(accepts, {Backend: 'iptables', INGRESSPOLICY: 'isolated'}, {backend: 'iptables', policy: 'isolated'});
test(accepts, {iptablesAdminChainName: 'MY_OWN-rules.1'}, {adminChain: 'MY_OWN-rules.1'});
test(accepts, {firewalldZone: 'internal'}, {zone: 'internal'});
test(accepts, {ingressPolicy: 'open'}, {});
test(accepts, {ingressPolicy: 'same-bridge'}, {policy: 'same-bridge'});
test(accepts, {markBit: 0}, {mark: 1});
test(accepts, {markBit: 31}, {mark: 0x8000_0000});

test('a backend nobody knows is no choice, as for the reference, and a warning', async (t) => {
  const call = await callFor({type: 'firewall', backend: 'nftable'});
  const warnings: string[] = [];
  const conf = parseFirewallConf({...call, warn: (message) => warnings.push(message)});
  t.is(conf.backend, undefined);
  t.deepEqual(warnings, [
    'network "net1": unknown backend "nftable" is ignored; it is one of nftables, iptables, firewalld',
  ]);
});

const refuses = test.macro({
  title: (_, conf: object) => `refuses ${JSON.stringify(conf)}`,
  async exec(t, conf: object, msg: string, details: string = '') {
    const error = await t.throwsAsync(parse(conf), {instanceOf: CniError, message: msg});
    t.is(error.code, errorCodes.invalidConfig);
    t.true(error.details.includes(details), error.details);
  },
});

test(refuses, {ingressPolicy: 'closed'}, 'unknown ingress policy: "closed"', '"same-bridge"');
test(refuses, {markBit: 32}, 'markBit must be between 0 and 31, found 32', '12');
test(refuses, {markBit: -1}, 'markBit must be between 0 and 31, found -1');
test(refuses, {markBit: '12'}, 'failed to load netconf: markBit: expected a number, found "12"');
test(refuses, {backend: 7}, 'failed to load netconf: backend: expected a string, found 7');
for (const name of [
  'a b',
  '1st',
  'x'.repeat(29),
  'forward',
  'admin',
  'FORWARD',
  'CNI-FORWARD',
  'admit-0x1000',
  'isolated-br0',
  'a"b',
  'a;b',
])
  test(
    refuses,
    {iptablesAdminChainName: name},
    `iptablesAdminChainName: "${name}" cannot be the name of a chain`,
  );

test('what a DEL needs is read from any configuration', async (t) => {
  const conf = async (keys: object) => findTeardownConf(await callFor({type: 'firewall', ...keys}));
  t.deepEqual(await conf({backend: 7, firewalldZone: [], markBit: 'x', ingressPolicy: {}}), {
    backend: undefined,
    zone: 'trusted',
  });
  t.deepEqual(await conf({BACKEND: 'firewalld', firewalldZone: 'work'}), {
    backend: 'firewalld',
    zone: 'work',
  });
});

const nothing = {interfaces: [], ips: [], routes: [], dns: {}};

test("a previous result is needed, and its first interface for a policy, in the reference's words", (t) => {
  t.is(requirePrevResult(nothing), nothing);
  t.throws(() => requirePrevResult(undefined), {
    instanceOf: CniError,
    message: 'missing prevResult from earlier plugin',
  });
  t.throws(() => bridgeOf('isolated', nothing), {
    message:
      'interface needs to be set for ingress policy "isolated", make sure to chain "firewall" plugin with "bridge"',
  });
  t.throws(() => bridgeOf('same-bridge', {...nothing, interfaces: [{name: ''}]}), {
    message: 'got empty bridge name',
  });
  t.throws(() => bridgeOf('isolated', {...nothing, interfaces: [{name: 'a b'}]}), {
    message: 'prevResult: "a b" cannot be the name of a bridge',
  });
  t.is(bridgeOf('same-bridge', {...nothing, interfaces: [{name: 'cni0'}, {name: 'veth1'}]}), 'cni0');
});

test('it speaks 0.4.0 and later, as the reference', (t) => {
  t.deepEqual(plugin.versions, ['0.4.0', '1.0.0', '1.1.0']);
});
