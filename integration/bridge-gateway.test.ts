import {
  fakeIpam,
  makePluginDir,
  attach,
  check,
  detach,
  listAddresses,
  pings,
  showIp,
  showLink,
} from './harness/attachment.ts';
import {makeHost} from './harness/host.ts';
import {testWith} from './harness/needs.ts';
import {bridgeNetwork} from './harness/networks.ts';
import {callPlugin, tryPlugin} from './harness/plugin.ts';
import {assertNothingLeft, staysByDesign, takeSnapshot} from './harness/snapshot.ts';

const test = testWith('root');

function network(more: Readonly<Record<string, unknown>> = {}, ipam: Readonly<Record<string, unknown>> = {}) {
  return bridgeNetwork({
    name: 'gateway',
    cniVersion: '1.1.0',
    ipMasq: false,
    ipam: {type: 'host-local', ranges: [[{subnet: '10.61.0.0/24'}]], ...ipam},
    ...more,
  });
}

test('an address without a gateway gets the first of its subnet, in the result too', async (t) => {
  const host = await makeHost(t);
  const ipam = {cniVersion: '1.1.0', ips: [{address: '10.7.3.9/22'}]};
  const dir = await makePluginDir(host, {fake: fakeIpam(ipam)});
  const conf = network({}, {type: 'fake'});
  const netns = await host.addNetns('a');
  const call = {conf, netns, containerId: 'a', dir};
  const result = await callPlugin(host, {...call, command: 'ADD'});
  t.deepEqual(result.ips, [{address: '10.7.3.9/22', gateway: '10.7.0.1', interface: 2}]);
  t.deepEqual(await listAddresses(host, 'cni0'), ['10.7.0.1/22']);
  t.true(await pings(host, 'a', '10.7.0.1'));
});

test('without isGateway the host takes no address and does not begin to forward', async (t) => {
  const host = await makeHost(t);
  await host.sh('echo 0 > /proc/sys/net/ipv4/ip_forward');
  const a = await attach(host, 'a', network({isGateway: false}));
  const b = await attach(host, 'b', network({isGateway: false}));
  t.deepEqual(await listAddresses(host, 'cni0'), []);
  t.is((await host.sh('cat /proc/sys/net/ipv4/ip_forward')).stdout.trim(), '0');
  t.true(await pings(host, 'a', b.addresses[0] ?? ''));
  t.is((await check(host, a)).code, 0);
});

test('isGateway forwards only the families that have addresses', async (t) => {
  const host = await makeHost(t);
  const forwarding = async () =>
    (await host.sh('cd /proc/sys/net; cat ipv4/ip_forward ipv6/conf/all/forwarding')).stdout
      .split('\n')
      .slice(0, 2);
  await host.sh('cd /proc/sys/net; echo 0 > ipv4/ip_forward; echo 0 > ipv6/conf/all/forwarding');
  await attach(host, 'a', network());
  t.deepEqual(await forwarding(), ['1', '0']);
  await attach(host, 'b', network({name: 'six', bridge: 'cni6'}, {ranges: [[{subnet: '2001:db8:6::/64'}]]}));
  t.deepEqual(await forwarding(), ['1', '1']);
});

for (const [title, routes] of [
  ['no default route', []],
  ['a default route without gateway', [{dst: '0.0.0.0/0'}]],
  ['a default route with a gateway', [{dst: '0.0.0.0/0', gw: '10.61.0.1'}]],
] as const)
  test(`isDefaultGateway beside an IPAM with ${title} gives one default route`, async (t) => {
    const host = await makeHost(t);
    const a = await attach(host, 'a', network({isGateway: false, isDefaultGateway: true}, {routes}));
    t.deepEqual(a.result.routes, [{dst: '0.0.0.0/0', gw: '10.61.0.1'}]);
    const shown = await showIp(host, ['route', 'show', 'default'], 'a');
    t.is(shown.length, 1);
    t.like(shown[0], {gateway: '10.61.0.1', dev: 'eth0'});
    t.deepEqual(await listAddresses(host, 'cni0'), ['10.61.0.1/24']);
    t.is((await check(host, a)).code, 0);
    await detach(host, a);
  });

test('isDefaultGateway gives each family of a dual stack network its default route', async (t) => {
  const host = await makeHost(t);
  const ranges = [[{subnet: '10.61.0.0/24'}], [{subnet: '2001:db8:61::/64'}]];
  const a = await attach(host, 'a', network({isDefaultGateway: true}, {ranges}));
  t.deepEqual(a.result.routes, [
    {dst: '0.0.0.0/0', gw: '10.61.0.1'},
    {dst: '::/0', gw: '2001:db8:61::1'},
  ]);
  t.is((await showIp(host, ['-6', 'route', 'show', 'default'], 'a')).length, 1);
  t.is((await check(host, a)).code, 0);
});

test('an IPAM default route by another gateway is left alone by isDefaultGateway', async (t) => {
  const host = await makeHost(t);
  const routes = [{dst: '0.0.0.0/0', gw: '10.61.0.77'}];
  const a = await attach(host, 'a', network({isDefaultGateway: true}, {routes}));
  t.deepEqual(a.result.routes, routes);
});

test('two IPv4 range sets give two addresses and two gateways on the bridge', async (t) => {
  const host = await makeHost(t);
  const ranges = [[{subnet: '10.61.0.0/24'}], [{subnet: '10.62.0.0/24'}]];
  const conf = network({}, {ranges});
  const a = await attach(host, 'a', conf);
  const b = await attach(host, 'b', conf);
  t.deepEqual(a.addresses, ['10.61.0.2', '10.62.0.2']);
  t.deepEqual((await listAddresses(host, 'cni0')).sort(), ['10.61.0.1/24', '10.62.0.1/24']);
  for (const address of ['10.61.0.1', '10.62.0.1', ...b.addresses])
    t.true(await pings(host, 'a', address), address);
  t.is((await check(host, a)).code, 0);
});

test('containers of two pools of one range set find their gateways on the bridge', async (t) => {
  const host = await makeHost(t);
  const pools = [
    {subnet: '10.61.0.0/24', rangeStart: '10.61.0.9', rangeEnd: '10.61.0.9'},
    {subnet: '10.62.0.0/24', rangeStart: '10.62.0.9', rangeEnd: '10.62.0.9'},
  ];
  const conf = network({isDefaultGateway: true}, {ranges: [pools]});
  const a = await attach(host, 'a', conf);
  const b = await attach(host, 'b', conf);
  t.deepEqual([a.addresses, b.addresses], [['10.61.0.9'], ['10.62.0.9']]);
  t.deepEqual((await listAddresses(host, 'cni0')).sort(), ['10.61.0.1/24', '10.62.0.1/24']);
  t.true(await pings(host, 'a', '10.61.0.1'));
  t.true(await pings(host, 'b', '10.62.0.1'));
  t.true(await pings(host, 'a', '10.62.0.9'));
});

test('another address of the bridge is an error that names the ways out, and leaves nothing', async (t) => {
  const host = await makeHost(t);
  await host.sh('ip link add cni0 type bridge; ip address add 10.99.0.1/16 dev cni0; ip link set cni0 up');
  const netns = await host.addNetns('a');
  const before = await takeSnapshot(host);
  const {code, reply} = await tryPlugin(host, {conf: network(), netns, containerId: 'a', command: 'ADD'});
  t.is(code, 1);
  t.is(reply?.code, 999);
  t.true(reply?.msg?.startsWith('"cni0" already has an IP address different from 10.61.0.1/24'), reply?.msg);
  for (const way of ['10.99.0.1/16', 'ip addr del 10.99.0.1/16 dev cni0', 'forceAddress', '"bridge"'])
    t.true(reply?.msg?.includes(way), way);
  t.deepEqual(await listAddresses(host, 'cni0'), ['10.99.0.1/16']);
  t.deepEqual(
    (await showIp<{ifname: string}>(host, ['link'], 'a')).map(({ifname}) => ifname),
    ['lo'],
  );
  await assertNothingLeft(t, host, before);
});

test('with forceAddress another address of the bridge is replaced', async (t) => {
  const host = await makeHost(t);
  await host.sh('ip link add cni0 type bridge; ip address add 10.99.0.1/16 dev cni0; ip link set cni0 up');
  await attach(host, 'a', network({forceAddress: true}));
  t.deepEqual(await listAddresses(host, 'cni0'), ['10.61.0.1/24']);
  t.true(await pings(host, 'a', '10.61.0.1'));
});

test('the same address with another prefix is in the way', async (t) => {
  const host = await makeHost(t);
  await host.sh('ip link add cni0 type bridge; ip address add 10.61.0.1/16 dev cni0; ip link set cni0 up');
  const netns = await host.addNetns('a');
  const call = {netns, containerId: 'a', command: 'ADD'} as const;
  const {reply} = await tryPlugin(host, {...call, conf: network()});
  t.regex(
    reply?.msg ?? '',
    /already has an IP address different from 10\.61\.0\.1\/24: it has 10\.61\.0\.1\/16/,
  );
  await callPlugin(host, {...call, conf: network({forceAddress: true})});
  t.deepEqual(await listAddresses(host, 'cni0'), ['10.61.0.1/24']);
});

test('IPv6: other subnets of the bridge stay, an overlapping one is in the way', async (t) => {
  const host = await makeHost(t);
  await host.sh(
    `ip link add cni0 type bridge
    ip link set cni0 up
    ip address add 2001:db8:1::1/64 dev cni0 nodad
    ip address add 2001:db8:61::99/64 dev cni0 nodad`,
  );
  const ipam = {ranges: [[{subnet: '2001:db8:61::/64'}]]};
  const call = {netns: await host.addNetns('a'), containerId: 'a', command: 'ADD'} as const;
  const {reply} = await tryPlugin(host, {...call, conf: network({}, ipam)});
  t.regex(reply?.msg ?? '', /^"cni0" already has an IP address different from 2001:db8:61::1\/64/);
  await callPlugin(host, {...call, conf: network({forceAddress: true}, ipam)});
  t.deepEqual((await listAddresses(host, 'cni0')).sort(), ['2001:db8:1::1/64', '2001:db8:61::1/64']);
});

test("a device of another kind under the bridge's name is refused and left alone", async (t) => {
  const host = await makeHost(t);
  await host.sh('ip link add cni0 type veth peer name other');
  const before = await takeSnapshot(host);
  const call = {conf: network(), netns: await host.addNetns('a'), containerId: 'a'};
  const {reply} = await tryPlugin(host, {...call, command: 'ADD'});
  t.true(reply?.msg?.startsWith('"cni0" already exists but is not a bridge'), reply?.msg);
  t.regex(reply?.msg ?? '', /veth.*"bridge"/);
  await callPlugin(host, {...call, command: 'DEL'});
  await assertNothingLeft(t, host, before, [...staysByDesign, /^mount nsfs /, /^file \/run\/netns\//]);
  t.is((await showLink(host, 'cni0')).linkinfo?.info_kind, 'veth');
});

test('a host that switched IPv6 off is told how to switch it on for the bridge', async (t) => {
  const host = await makeHost(t);
  await host.sh('for i in all default; do echo 1 > /proc/sys/net/ipv6/conf/$i/disable_ipv6; done');
  const netns = await host.addNetns('a');
  const before = await takeSnapshot(host);
  const conf = network({}, {ranges: [[{subnet: '10.61.0.0/24'}], [{subnet: '2001:db8:61::/64'}]]});
  const {code, reply} = await tryPlugin(host, {conf, netns, containerId: 'a', command: 'ADD'});
  t.is(code, 1);
  t.regex(
    reply?.msg ?? '',
    /^could not add IP address 2001:db8:61::1\/64 to "cni0" \(sysctl -w net\/ipv6\/conf\/cni0\/disable_ipv6=0\): /,
  );
  await assertNothingLeft(t, host, before);
});

test('an existing bridge that is down is brought up, and keeps its MTU', async (t) => {
  const host = await makeHost(t);
  await host.sh('ip link add cni0 mtu 1450 type bridge');
  const a = await attach(host, 'a', network({mtu: 1400}));
  const bridge = await showLink(host, 'cni0');
  t.true(bridge.flags.includes('UP'));
  t.is((await showLink(host, 'eth0', 'a')).mtu, 1400);
  t.true(await pings(host, 'a', '10.61.0.1'));
  t.is(a.result.interfaces?.[0]?.mac, bridge.address);
});

test('the addresses of IPAM that the container already has are an error that takes everything back', async (t) => {
  const host = await makeHost(t);
  const netns = await host.addNetns('a');
  const before = await takeSnapshot(host);
  const conf = network({}, {type: 'fake'});
  const ips = [{address: '10.7.0.9/24'}, {address: '10.7.0.9/24'}];
  const dir = await makePluginDir(host, {fake: fakeIpam({cniVersion: '1.1.0', ips})});
  const {code, reply} = await tryPlugin(host, {conf, netns, containerId: 'a', dir, command: 'ADD'});
  t.is(code, 1);
  t.regex(reply?.msg ?? '', /failed to add IP addr 10\.7\.0\.9\/24 to "eth0".*exist/i);
  await assertNothingLeft(t, host, before, [...staysByDesign, /^file \/run\/plugins\/fake$/]);
});
