import {attach, check, detach, pings, portOf, showIp, showLink} from './harness/attachment.ts';
import {makeHost} from './harness/host.ts';
import {testWith} from './harness/needs.ts';
import {bridgeNetwork} from './harness/networks.ts';
import {callPlugin, tryPlugin} from './harness/plugin.ts';
import {assertNothingLeft, staysByDesign, takeSnapshot} from './harness/snapshot.ts';

const test = testWith('root');

const allowed = [...staysByDesign, /^mount nsfs /, /^file \/run\/netns\//, /^(address|route) .*br-/];
const network = (more: Readonly<Record<string, unknown>> = {}) =>
  bridgeNetwork({name: 'odd', cniVersion: '1.1.0', macspoofchk: true, ...more});

const longId = `a${'0123456789'.repeat(20)}`.slice(0, 200);

const names = [
  {title: 'a container id of 200 bytes', containerId: longId},
  {title: 'a container id of one byte', containerId: 'x'},
  {title: 'dots, dashes and underscores in the container id', containerId: 'a.b-c_d..e'},
  {title: 'an interface of 15 bytes', ifName: 'eth0.123-456_78'},
  {title: 'an interface with a dot, a plus and an at sign', ifName: 'net+1.7@x'},
  {title: 'an interface name of two-byte letters', ifName: 'größe0'},
  {title: 'a network with dots', conf: network({name: 'my.net.work-1_x'})},
  {title: 'a network of 200 bytes', conf: network({name: longId})},
  {title: 'a bridge of 15 bytes', conf: network({bridge: 'br-0123456789ab'})},
  {title: 'a bridge with dots', conf: network({bridge: 'br-a.b.c'})},
];

for (const {title, ...more} of names)
  test(`${title}: ADD, CHECK, GC and DEL`, async (t) => {
    const host = await makeHost(t);
    const before = await takeSnapshot(host);
    const a = await attach(host, 'a', more.conf ?? network(), more);
    t.true(await pings(host, 'a', '10.61.0.1'));
    const {code, stdout} = await check(host, a);
    t.is(code, 0, stdout);
    const attachments = [{containerID: a.containerId, ifname: a.ifName ?? 'eth0'}];
    await callPlugin(host, {conf: a.conf, command: 'GC', attachments});
    t.is((await check(host, a)).code, 0);
    // Without namespace and previous result everything has to be found by its owner.
    await callPlugin(host, {...a, netns: '', command: 'DEL'});
    await assertNothingLeft(t, host, before, allowed);
  });

test('long names that begin alike are told apart', async (t) => {
  const host = await makeHost(t);
  const conf = network({name: longId});
  const a = await attach(host, 'a', conf, {containerId: `${longId.slice(1)}a`});
  const b = await attach(host, 'b', conf, {containerId: `${longId.slice(1)}b`});
  t.not(a.port, b.port);
  await callPlugin(host, {...a, netns: '', command: 'DEL'});
  t.is((await check(host, b)).code, 0);
  await callPlugin(host, {conf, command: 'GC', attachments: [{containerID: b.containerId, ifname: 'eth0'}]});
  t.is((await check(host, b)).code, 0);
  await callPlugin(host, {conf, command: 'GC', attachments: [{containerID: a.containerId, ifname: 'eth0'}]});
  t.deepEqual(await showIp(host, ['link', 'show', 'type', 'veth']), []);
});

test("ADD of an interface that is attached already is the reference's error and harms nothing", async (t) => {
  const host = await makeHost(t);
  const {result, ...a} = await attach(host, 'a', network());
  const before = await takeSnapshot(host);
  const {code, reply} = await tryPlugin(host, {...a, command: 'ADD'});
  t.is(code, 1);
  t.is(reply?.code, 999);
  t.regex(
    reply?.msg ?? '',
    /^container veth name \("eth0"\) peer provided \("veth[0-9a-f]{8}"\) already exists/,
  );
  await assertNothingLeft(t, host, before, [/^file \/run\/weft\//]);
  t.is((await check(host, {...a, result})).code, 0);
  t.true(await pings(host, 'a', '10.61.0.1'));
});

test('ADD where the container has an interface of that name from elsewhere', async (t) => {
  const host = await makeHost(t);
  const netns = await host.addNetns('a');
  await host.run(host.inNetns('a', ['ip', 'link', 'add', 'eth0', 'type', 'bridge']));
  const before = await takeSnapshot(host);
  const call = {conf: network(), netns, containerId: 'a'};
  const {code, reply} = await tryPlugin(host, {...call, command: 'ADD'});
  t.is(code, 1);
  t.regex(
    reply?.msg ?? '',
    /^container veth name \("eth0"\) peer provided \("veth[0-9a-f]{8}"\) already exists/,
  );
  await assertNothingLeft(t, host, before);
  t.is((await showLink(host, 'eth0', 'a')).linkinfo?.info_kind, 'bridge');
});

test('ADD of a container id in a new namespace replaces what its last life left', async (t) => {
  const host = await makeHost(t);
  const conf = {cniVersion: '1.1.0', name: 'l2', type: 'bridge'};
  const a = await attach(host, 'a', conf);
  // Killed and made anew under the same id: the old namespace lives on, held by somebody.
  const b = await attach(host, 'b', conf, {containerId: 'a'});
  t.is(b.port, a.port);
  t.is((await check(host, b)).code, 0);
  t.is((await showIp(host, ['link', 'show', 'type', 'veth'])).length, 1);
});

test("another's link under the name of our veth is left alone", async (t) => {
  const host = await makeHost(t);
  const first = await attach(host, 'a', network());
  await detach(host, first);
  await host.run(['ip', 'link', 'add', first.port, 'type', 'bridge']);
  const call = {conf: network(), netns: first.netns, containerId: 'a'};
  const result = await callPlugin(host, {...call, command: 'ADD'});
  t.not(portOf(result), first.port);
  await callPlugin(host, {...call, command: 'CHECK', prevResult: result});
  await callPlugin(host, {...call, netns: '', command: 'DEL'});
  t.is((await showLink(host, first.port)).linkinfo?.info_kind, 'bridge');
  t.deepEqual(await showIp(host, ['link', 'show', 'type', 'veth']), []);
});

test('ten ADDs at once on a host without bridge agree on one', async (t) => {
  const host = await makeHost(t);
  const netnses = await host.addNetnses('pod', 10);
  const results = await Promise.all(
    netnses.map((netns, i) =>
      callPlugin(host, {
        conf: network(),
        netns,
        containerId: `c${i}`,
        command: 'ADD',
        options: {timeoutMs: 30_000},
      }),
    ),
  );
  const mac = (await showLink(host, 'cni0')).address;
  for (const {interfaces} of results) t.is(interfaces?.[0]?.mac, mac);
});

test('two networks on one bridge', async (t) => {
  const host = await makeHost(t);
  const six = {type: 'host-local', ranges: [[{subnet: '2001:db8:66::/64'}]]};
  const a = await attach(host, 'a', network());
  const b = await attach(host, 'b', network({name: 'six', ipam: six}));
  for (const each of [a, b]) t.is((await check(host, each)).code, 0);
  await callPlugin(host, {conf: network(), command: 'GC', attachments: []});
  t.is((await check(host, b)).code, 0);
});

test('CNI_NETNS that is the host itself is error 8, and leaves nothing', async (t) => {
  const host = await makeHost(t);
  const before = await takeSnapshot(host);
  const call = {conf: network(), netns: '/proc/1/ns/net', containerId: 'a'};
  const {code, reply} = await tryPlugin(host, {...call, command: 'ADD'});
  t.is(code, 1);
  t.is(reply?.code, 8);
  await assertNothingLeft(t, host, before, allowed);
});

test('ADD in the host’s own namespace with CNI_NETNS_OVERRIDE', async (t) => {
  const host = await makeHost(t);
  const before = await takeSnapshot(host);
  const conf = {cniVersion: '1.1.0', name: 'l2', type: 'bridge'};
  const options = {env: {CNI_NETNS_OVERRIDE: 'true'}};
  const call = {conf, netns: '/proc/1/ns/net', containerId: 'a', options};
  const result = await callPlugin(host, {...call, command: 'ADD'});
  await callPlugin(host, {...call, command: 'CHECK', prevResult: result});
  await callPlugin(host, {...call, command: 'DEL', prevResult: result});
  await assertNothingLeft(t, host, before, allowed);
});

test('a version without interfaces refuses layer 2 and leaves nothing', async (t) => {
  const host = await makeHost(t);
  const netns = await host.addNetns('a');
  const before = await takeSnapshot(host);
  const call = {conf: {cniVersion: '0.2.0', name: 'l2', type: 'bridge'}, netns, containerId: 'a'};
  const {code, reply} = await tryPlugin(host, {...call, command: 'ADD'});
  t.is(code, 1);
  t.regex(reply?.msg ?? '', /cannot convert: no valid IP addresses/);
  await assertNothingLeft(t, host, before, allowed);
});

test('the dns of the configuration replaces what IPAM says, as a whole', async (t) => {
  const host = await makeHost(t);
  await host.write('/run/resolv.conf', 'nameserver 10.61.0.53\nsearch a.test b.test\noptions ndots:3\n');
  const ipam = {type: 'host-local', subnet: '10.61.0.0/24', resolvConf: '/run/resolv.conf'};
  const a = await attach(host, 'a', network({ipam}));
  t.deepEqual(a.result.dns, {
    nameservers: ['10.61.0.53'],
    search: ['a.test', 'b.test'],
    options: ['ndots:3'],
  });
  const b = await attach(host, 'b', network({ipam, dns: {domain: 'weft.test'}}));
  t.deepEqual(b.result.dns, {domain: 'weft.test'});
});

test('on a kernel whose bridges filter no VLANs, ADD with a VLAN says so and leaves nothing', async (t) => {
  const host = await makeHost(t);
  const probe = ['ip', 'link', 'add', 'probe', 'type', 'bridge', 'vlan_filtering', '1'];
  const isAble = (await host.run(probe, {mayFail: true})).code === 0;
  const netns = await host.addNetns('a');
  const before = await takeSnapshot(host);
  const call = {conf: network({vlan: 100}), netns, containerId: 'a'};
  const {code, reply} = await tryPlugin(host, {...call, command: 'ADD'});
  // Kernels that can are what integration/second-kernel is for.
  if (isAble) return t.is(code, 0);
  t.is(code, 1);
  t.regex(
    reply?.msg ?? '',
    /^could not add "cni0": this kernel has .*none that filter VLANs.*CONFIG_BRIDGE_VLAN_FILTERING/,
  );
  t.regex(reply?.msg ?? '', /EOPNOTSUPP/);
  return assertNothingLeft(t, host, before, []);
});
