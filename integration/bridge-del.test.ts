import type {ExecutionContext} from 'ava';
import {attach, detach, fakeIpam, makePluginDir, pings, check, type Attached} from './harness/attachment.ts';
import {makeHost, type TestHost} from './harness/host.ts';
import {testWith} from './harness/needs.ts';
import {bridgeNetwork} from './harness/networks.ts';
import {callPlugin, tryPlugin} from './harness/plugin.ts';
import {assertNothingLeft, staysByDesign, takeSnapshot} from './harness/snapshot.ts';

const test = testWith('root');

const allowed = [
  ...staysByDesign,
  /^mount nsfs /,
  /^file \/run\/(netns|plugins)\//,
  /^file \/run\/xtables.lock$/,
];
const network = (more: Readonly<Record<string, unknown>> = {}) =>
  bridgeNetwork({name: 'leaving', cniVersion: '1.1.0', macspoofchk: true, ...more});

/** Attaches one container, lets `leave` take it away, and looks for what stays. */
async function assertLeaves(
  t: ExecutionContext,
  conf: Readonly<Record<string, unknown>>,
  leave: (host: TestHost, a: Attached) => Promise<unknown>,
): Promise<void> {
  const host = await makeHost(t);
  // A neighbour's things must stay.
  const b = await attach(host, 'b', network());
  const before = await takeSnapshot(host);
  const a = await attach(host, 'a', conf);
  await leave(host, a);
  await assertNothingLeft(t, host, before, allowed);
  t.is((await check(host, b)).code, 0);
  await detach(host, b);
}

const backends = [{}, {ipMasqBackend: 'iptables'}];

for (const conf of backends.map(network)) {
  const backend = 'ipMasqBackend' in conf ? 'iptables' : 'nftables';

  test(`${backend}: DEL without CNI_NETNS`, (t) =>
    assertLeaves(t, conf, async (host, {result, ...a}) =>
      callPlugin(host, {...a, netns: '', command: 'DEL', prevResult: result}),
    ));

  test(`${backend}: DEL without previous result`, (t) =>
    assertLeaves(t, conf, async (host, a) => callPlugin(host, {...a, command: 'DEL'})));

  test(`${backend}: DEL with neither`, (t) =>
    assertLeaves(t, conf, async (host, a) => callPlugin(host, {...a, netns: '', command: 'DEL'})));

  test(`${backend}: DEL after the namespace is gone, without previous result`, (t) =>
    assertLeaves(t, conf, async (host, a) => {
      await host.removeNetns('a');
      await callPlugin(host, {...a, command: 'DEL'});
    }));

  test(`${backend}: DEL after the interface is gone`, (t) =>
    assertLeaves(t, conf, async (host, {result, ...a}) => {
      await host.run(['ip', 'link', 'del', a.port]);
      await callPlugin(host, {...a, command: 'DEL', prevResult: result});
    }));
}

for (const [title, ips] of [
  ['no address', []],
  ['addresses of the bridge alone', [{address: '10.61.0.77/24', interface: 0}]],
] as const)
  test(`DEL with a previous result that has ${title}`, (t) =>
    assertLeaves(t, network(), async (host, {result, ...a}) =>
      callPlugin(host, {...a, command: 'DEL', prevResult: {...result, ips}}),
    ));

test('DEL three times', (t) =>
  assertLeaves(t, network(), async (host, a) => {
    for (let i = 0; i < 3; i++) await detach(host, a);
  }));

test('DEL of what was never added', async (t) => {
  const host = await makeHost(t);
  const call = {conf: network(), containerId: 'never', command: 'DEL'} as const;
  const netns = await host.addNetns('a');
  const before = await takeSnapshot(host);
  for (const path of ['', netns, '/run/netns/gone']) {
    const {code, stdout, stderr} = await tryPlugin(host, {...call, netns: path});
    t.deepEqual({code, stdout, stderr}, {code: 0, stdout: '', stderr: ''});
  }
  await assertNothingLeft(t, host, before, allowed);
});

test('DEL after the bridge is gone', (t) =>
  assertLeaves(t, network({bridge: 'cni1'}), async (host, {result, ...a}) => {
    await host.run(['ip', 'link', 'del', 'cni1']);
    await callPlugin(host, {...a, command: 'DEL', prevResult: result});
  }));

test('DEL after somebody flushed the ruleset', async (t) => {
  const host = await makeHost(t);
  const before = await takeSnapshot(host);
  const a = await attach(host, 'a', network());
  await host.run(['nft', 'flush', 'ruleset']);
  await detach(host, a);
  await assertNothingLeft(t, host, before, allowed);
});

/** Most of them are refused by an ADD (see the unit tests of conf.ts). */
const changes: readonly Readonly<Record<string, unknown>>[] = [
  {vlan: 5000},
  {hairpinMode: true, promiscMode: true},
  {mtu: 'much'},
  {ipMasqBackend: 'none'},
  {bridge: 'a name that is far too long for an interface'},
  {vlanTrunk: [{id: 0}]},
  {isGateway: 'yes', portIsolation: 'true'},
  {runtimeConfig: {mac: 'nonsense'}},
  {dns: 'nonsense', args: 7},
  {exemptDestinations: ['nonsense']},
  // Switched off since: what an ADD with it made must go all the same.
  {ipMasq: false},
  {macspoofchk: false},
];

for (const change of changes)
  test(`DEL with a configuration that became ${JSON.stringify(change)}`, (t) =>
    assertLeaves(t, network(), async (host, {result, ...a}) => {
      await callPlugin(host, {...a, conf: {...a.conf, ...change}, command: 'DEL', prevResult: result});
    }));

test('DEL with a previous result that cannot be read warns and removes everything', (t) =>
  assertLeaves(t, network(), async (host, {result: _result, ...a}) => {
    const prevResult = {cniVersion: '0.2.0', ips: 'nonsense'};
    const {code, stderr} = await tryPlugin(host, {...a, command: 'DEL', prevResult});
    t.is(code, 0);
    t.regex(stderr, /prevResult/);
  }));

test('DEL goes on when IPAM fails, and reports it', async (t) => {
  const host = await makeHost(t);
  const dir = await makePluginDir(host, {
    fake: `case $CNI_COMMAND in
      ADD) echo '{"cniVersion":"1.1.0","ips":[{"address":"10.61.0.2/24"}]}' ;;
      *) echo '{"cniVersion":"1.1.0","code":123,"msg":"the database is away"}'; exit 1 ;;
    esac`,
  });
  const before = await takeSnapshot(host);
  const {result, ...a} = await attach(host, 'a', network({ipam: {type: 'fake'}}), {dir});
  const {code, reply} = await tryPlugin(host, {...a, command: 'DEL', prevResult: result});
  t.is(code, 1);
  t.like(reply, {code: 123, msg: 'the database is away'});
  await assertNothingLeft(t, host, before, allowed);
});

test('DEL with an IPAM plugin that is not there removes the rest, and reports it', async (t) => {
  const host = await makeHost(t);
  const before = await takeSnapshot(host);
  const {result, ...a} = await attach(host, 'a', network());
  const conf = {...a.conf, ipam: {type: 'gone'}};
  const {code, reply} = await tryPlugin(host, {...a, conf, command: 'DEL', prevResult: result});
  t.is(code, 1);
  t.regex(reply?.msg ?? '', /^failed to find plugin "gone" in path \[/);
  await assertNothingLeft(t, host, before, [...allowed, /^file \/var\/lib\/cni\/networks\//]);
});

test('DEL of one interface leaves the other of the same container', async (t) => {
  const host = await makeHost(t);
  const a = await attach(host, 'a', network());
  const {result: _result, ...call} = {...a, ifName: 'net1'};
  const second = await callPlugin(host, {...call, command: 'ADD'});
  await callPlugin(host, {...call, command: 'DEL', prevResult: second});
  t.is((await check(host, a)).code, 0);
  t.true(await pings(host, 'a', '10.61.0.1'));
});

test('DEL with a path that leads to another container by now leaves that one alone', async (t) => {
  const host = await makeHost(t);
  const before = await takeSnapshot(host);
  const old = await attach(host, 'old', network());
  const a = await attach(host, 'a', network());
  await host.removeNetns('old');
  await callPlugin(host, {...old, netns: a.netns, command: 'DEL', prevResult: old.result});
  t.is((await check(host, a)).code, 0);
  t.true(await pings(host, 'a', '10.61.0.1'));
  await detach(host, a);
  await assertNothingLeft(t, host, before, allowed);
});

test('DEL under the new name of a network removes the interface all the same', async (t) => {
  const host = await makeHost(t);
  const a = await attach(host, 'a', network());
  await callPlugin(host, {...a, conf: network({name: 'renamed'}), command: 'DEL'});
  const {stdout} = await host.run(host.inNetns('a', ['ip', '-o', 'link']));
  t.notRegex(stdout, /eth0/);
});

test('DEL in the namespace of the host itself removes no interface there', async (t) => {
  const host = await makeHost(t);
  await host.run(['ip', 'link', 'add', 'eth0', 'type', 'veth', 'peer', 'name', 'other']);
  const a = await attach(host, 'a', network());
  const {code, reply} = await tryPlugin(host, {...a, netns: '/proc/1/ns/net', command: 'DEL'});
  t.is(code, 1);
  t.is(reply?.code, 8);
  const {stdout} = await host.run(['ip', '-o', 'link', 'show', 'type', 'veth']);
  t.regex(stdout, /eth0@other/);
  t.false(stdout.includes(a.port));
});

test('DEL without namespace leaves an interface of the same name in another network', async (t) => {
  const host = await makeHost(t);
  const a = await attach(host, 'a', network());
  await callPlugin(host, {...a, conf: network({name: 'other'}), netns: '', command: 'DEL'});
  t.is((await check(host, a)).code, 0);
});

const exhausted = {
  type: 'host-local',
  ranges: [[{subnet: '10.61.0.0/24', rangeStart: '10.61.0.2', rangeEnd: '10.61.0.2'}]],
};

interface Failure {
  readonly title: string;
  readonly ipam: Readonly<Record<string, unknown>>;
  readonly code: number;
  readonly says: RegExp;
}

const failures: readonly Failure[] = [
  {
    title: 'no address is free',
    ipam: exhausted,
    code: 999,
    says: /no IP addresses available in range set: 10\.61\.0\.2-10\.61\.0\.2/,
  },
  {
    title: 'there is no such IPAM plugin',
    ipam: {type: 'nowhere'},
    code: 999,
    says: /^failed to find plugin "nowhere" in path \[\/run\/plugins\]/,
  },
  {
    title: 'IPAM has no address to give',
    ipam: {type: 'empty'},
    code: 999,
    says: /^IPAM plugin returned missing IP config.*"empty"/,
  },
  {
    title: 'IPAM says nothing',
    ipam: {type: 'silent'},
    code: 999,
    says: /^failed to unmarshal raw result: .* result $/,
  },
  {
    title: 'IPAM says nonsense',
    ipam: {type: 'nonsense'},
    code: 999,
    says: /^failed to unmarshal raw result: [^]* result nonsense\n$/,
  },
  {title: 'IPAM refuses', ipam: {type: 'refusing'}, code: 117, says: /^not today$/},
  {
    title: 'the route of IPAM leads nowhere',
    ipam: {type: 'host-local', subnet: '10.61.0.0/24', routes: [{dst: '10.99.0.0/16', gw: '10.200.0.1'}]},
    code: 999,
    says: /^failed to add route '10\.99\.0\.0\/16 via 10\.200\.0\.1 dev eth0': .*ENETUNREACH/,
  },
];

for (const {title, ipam, code, says} of failures)
  test(`a failed ADD leaves nothing: ${title}`, async (t) => {
    const host = await makeHost(t);
    const dir = await makePluginDir(host, {
      empty: fakeIpam({cniVersion: '1.1.0', ips: []}),
      silent: 'exit 0',
      nonsense: 'echo nonsense',
      refusing: `[ $CNI_COMMAND != ADD ] || { echo '{"code":117,"msg":"not today"}'; exit 1; }`,
    });
    await attach(host, 'b', network({ipam: exhausted}), {dir});
    const netns = await host.addNetns('a');
    const before = await takeSnapshot(host);
    const call = {conf: network({ipam}), netns, containerId: 'a', dir};
    const {code: exit, reply, stdout} = await tryPlugin(host, {...call, command: 'ADD'});
    t.is(exit, 1);
    t.is(reply?.code, code, stdout);
    t.regex(reply?.msg ?? '', says);
    await assertNothingLeft(t, host, before, allowed);
    const {stdout: links} = await host.run(host.inNetns('a', ['ip', '-o', 'link']));
    t.notRegex(links, /eth0/);
  });

test('an ADD whose container is gone fails and leaves nothing', async (t) => {
  const host = await makeHost(t);
  const before = await takeSnapshot(host);
  const call = {conf: network(), netns: '/run/netns/gone', containerId: 'a'};
  const {reply} = await tryPlugin(host, {...call, command: 'ADD'});
  t.is(
    reply?.msg,
    'failed to open netns "/run/netns/gone": failed to Statfs "/run/netns/gone": no such file or directory',
  );
  await assertNothingLeft(t, host, before, allowed);
});
