import type {ExecutionContext} from 'ava';
import {
  attach,
  check,
  detach,
  listAddresses,
  makeOutside,
  pings,
  showIp,
  type Attached,
} from './harness/attachment.ts';
import {makeHost, type TestHost} from './harness/host.ts';
import {testWith} from './harness/needs.ts';
import {bridgeNetwork} from './harness/networks.ts';
import {assertNothingLeft, staysByDesign, takeSnapshot} from './harness/snapshot.ts';

const test = testWith('root');

const range4 = [{subnet: '10.61.0.0/24'}];
const range6 = [{subnet: '2001:db8:61::/64'}];
const route4 = {dst: '0.0.0.0/0'};
const route6 = {dst: '::/0'};

/** What the namespaces of tests themselves add to a host. */
const ofTests = [/^mount nsfs /, /^file \/run\/netns\//, /^file \/run\/xtables.lock$/];
const allowed = [...staysByDesign, ...ofTests];

interface Stack {
  readonly title: string;
  readonly ipam: Readonly<Record<string, unknown>>;
  readonly first: readonly string[];
  readonly gateways: readonly string[];
}

const stacks: readonly Stack[] = [
  {
    title: 'IPv4',
    ipam: {ranges: [range4], routes: [route4]},
    first: ['10.61.0.2/24'],
    gateways: ['10.61.0.1'],
  },
  {
    title: 'IPv6',
    ipam: {ranges: [range6], routes: [route6]},
    first: ['2001:db8:61::2/64'],
    gateways: ['2001:db8:61::1'],
  },
  {
    title: 'dual stack',
    ipam: {ranges: [range4, range6], routes: [route4, route6]},
    first: ['10.61.0.2/24', '2001:db8:61::2/64'],
    gateways: ['10.61.0.1', '2001:db8:61::1'],
  },
];

async function assertConfigured(t: ExecutionContext, host: TestHost, a: Attached, stack: Stack) {
  t.deepEqual(a.result, {
    cniVersion: '1.1.0',
    interfaces: [
      {name: 'cni0', mac: a.result.interfaces?.[0]?.mac ?? ''},
      {name: a.port, mac: a.result.interfaces?.[1]?.mac ?? ''},
      {name: 'eth0', mac: a.result.interfaces?.[2]?.mac ?? '', sandbox: a.netns},
    ],
    ips: stack.first.map((address, i) => ({address, gateway: stack.gateways[i] ?? '', interface: 2})),
    routes: stack.ipam['routes'] as {dst: string}[],
  });
  t.deepEqual(await listAddresses(host, 'eth0', 'a'), [...stack.first]);
  for (const [i, gateway] of stack.gateways.entries()) {
    const family = gateway.includes(':') ? '-6' : '-4';
    const routes = await showIp(host, [family, 'route', 'show', 'default'], 'a');
    t.is(routes.length, 1);
    t.like(routes[0], {dst: 'default', gateway, dev: 'eth0'});
    const prefix = stack.first[i]?.split('/')[1];
    t.true((await listAddresses(host, 'cni0')).includes(`${gateway}/${prefix}`));
  }
}

for (const stack of stacks)
  test(`${stack.title}: containers reach each other, the host, and through masquerade the outside`, async (t) => {
    const host = await makeHost(t);
    const before = await takeSnapshot(host);
    const outside = await makeOutside(host);
    const conf = bridgeNetwork({
      name: 'l3',
      cniVersion: '1.1.0',
      ipam: {type: 'host-local', ...stack.ipam},
    });
    const a = await attach(host, 'a', conf);
    const b = await attach(host, 'b', conf);
    await assertConfigured(t, host, a, stack);
    for (const address of [...b.addresses, ...stack.gateways]) t.true(await pings(host, 'a', address));
    for (const address of a.addresses) t.true(await pings(host, 'b', address));
    const targets = stack.gateways.map((each) => (each.includes(':') ? outside.address6 : outside.address4));
    for (const target of targets) t.true(await pings(host, 'a', target));
    t.deepEqual(
      await outside.sources(),
      targets.map((each) => each.replace(/2$/, '1')),
    );
    for (const each of [a, b]) {
      t.is((await check(host, each)).code, 0);
      await detach(host, each);
    }
    const links = await showIp<{ifname: string}>(host, ['link'], 'a');
    t.deepEqual(
      links.map(({ifname}) => ifname),
      ['lo'],
    );
    await assertNothingLeft(t, host, before, [
      ...allowed,
      /^(link|address|route) (\S+ +)?(\S+ )?.*uplink0/,
      /^route (192\.0\.2|2001:db8:ff)/,
    ]);
  });

test('the own subnet and exemptDestinations see the address of the container itself', async (t) => {
  const host = await makeHost(t);
  const outside = await makeOutside(host);
  // A second address of the neighbour, which is exempt, beside the one that is not.
  await host.run(host.inNetns('outside', ['ip', 'address', 'add', '198.51.100.9/32', 'dev', 'lo']));
  await host.run(host.inNetns('outside', ['ip', 'address', 'add', '2001:db8:aa::9/128', 'dev', 'lo']));
  await host.run(['ip', 'route', 'add', '198.51.100.0/24', 'via', outside.address4]);
  await host.run(['ip', 'route', 'add', '2001:db8:aa::/64', 'via', outside.address6]);
  const conf = bridgeNetwork({
    name: 'exempt',
    cniVersion: '1.1.0',
    exemptDestinations: ['198.51.100.0/24', '2001:db8:aa::/64'],
  });
  const a = await attach(host, 'a', conf);
  const pinged = async (address: string) => {
    // What counts is whom the others see, not that no packet is lost.
    t.true((await pings(host, 'a', address)) || (await pings(host, 'a', address)), address);
    return outside.sources();
  };
  t.deepEqual(await pinged('198.51.100.9'), ['10.61.0.2']);
  t.deepEqual(await pinged('2001:db8:aa::9'), ['2001:db8:61::2']);
  t.deepEqual(await pinged(outside.address4), ['192.0.2.1']);
  t.deepEqual(await pinged(outside.address6), ['2001:db8:ff::1']);
  t.is((await check(host, a)).code, 0);
  // A neighbour on the bridge sees who it is, although the host would masqueraded it elsewhere.
  await host.run(['sysctl', '-q', '-w', 'net.ipv4.ip_forward=1']);
  const b = await attach(host, 'b', conf);
  await host.run(host.inNetns('b', ['nft', '-f', '-']), {stdin: seen});
  t.true(await pings(host, 'a', b.addresses[0] ?? ''));
  const {stdout} = await host.run(host.inNetns('b', ['nft', 'list', 'set', 'inet', 'watch', 'seen']));
  t.regex(stdout, /10\.61\.0\.2/);
});

const seen = `
table inet watch {
  set seen { type ipv4_addr; flags dynamic; size 10; }
  chain input { type filter hook input priority 0; icmp type echo-request add @seen { ip saddr }; }
}
`;

test("ipMasqBackend iptables makes the reference's rules, which masquerade, are checked and removed", async (t) => {
  const host = await makeHost(t);
  const outside = await makeOutside(host);
  const before = await takeSnapshot(host);
  const conf = bridgeNetwork({name: 'mynet', cniVersion: '1.1.0', ipMasqBackend: 'iptables'});
  const a = await attach(host, 'a', conf, {containerId: 'cid1'});
  for (const [address, source] of [
    [outside.address4, '192.0.2.1'],
    [outside.address6, '2001:db8:ff::1'],
  ] as const) {
    t.true(await pings(host, 'a', address));
    t.deepEqual(await outside.sources(), [source]);
  }
  const chain = 'CNI-a631aa8e1549a3b129110fd2';
  const {stdout} = await host.run(['iptables', '-t', 'nat', '-S']);
  const comment = `-m comment --comment "name: \\"mynet\\" id: \\"cid1\\""`;
  t.deepEqual(
    stdout.split('\n').filter((line) => line.includes(chain)),
    [
      `-N ${chain}`,
      `-A POSTROUTING -s 10.61.0.2/32 ${comment} -j ${chain}`,
      `-A ${chain} -d 10.61.0.0/24 ${comment} -j ACCEPT`,
      `-A ${chain} ! -d 224.0.0.0/4 ${comment} -j MASQUERADE`,
    ],
  );
  t.is((await check(host, a)).code, 0);
  await host.run(['iptables', '-t', 'nat', '-F', chain]);
  const {code, reply} = await check(host, a);
  t.is(code, 1);
  t.regex(reply?.msg ?? '', /iptables|masquerad/);
  await detach(host, a);
  await assertNothingLeft(t, host, before, [
    ...allowed,
    // The anycast address that the kernel gives a router.
    /^route 2001:db8:ff::  uplink0 local$/,
    // The chains of iptables-nft themselves.
    /^nft (table|chain) \{"family":"ip6?",/,
  ]);
});

test('an address that changes hands is reached at once by neighbours who remember its last owner', async (t) => {
  const host = await makeHost(t);
  const one4 = {...range4[0], rangeStart: '10.61.0.9', rangeEnd: '10.61.0.9'};
  const one6 = {...range6[0], rangeStart: '2001:db8:61::9', rangeEnd: '2001:db8:61::9'};
  const conf = bridgeNetwork({
    name: 'reused',
    cniVersion: '1.1.0',
    ipam: {type: 'host-local', ranges: [[one4], [one6]]},
  });
  await attach(host, 'neighbour', bridgeNetwork({name: 'neighbours', cniVersion: '1.1.0'}));
  const reach = async () => {
    for (const address of ['10.61.0.9', '2001:db8:61::9']) {
      t.true(await pings(host, 'neighbour', address), address);
      const fromHost = await host.run(['ping', '-c', '1', '-W', '2', address], {mayFail: true});
      t.is(fromHost.code, 0, address);
    }
  };
  const first = await attach(host, 'a', conf);
  await reach();
  await detach(host, first);
  await attach(host, 'b', conf);
  await reach();
});

test('IPv4 addresses have a broadcast address where the subnet has room for one', async (t) => {
  const host = await makeHost(t);
  const subnet = (name: string, cidr: string) =>
    bridgeNetwork({name, bridge: name, cniVersion: '1.1.0', ipam: {type: 'host-local', subnet: cidr}});
  for (const [name, cidr, broadcast] of [
    ['br-24', '10.71.0.0/24', '10.71.0.255'],
    ['br-30', '10.72.0.0/30', '10.72.0.3'],
  ] as const) {
    await attach(host, name, subnet(name, cidr));
    const find = async (link: string, netns?: string) =>
      (await showIp<{addr_info: object[]}>(host, ['-4', 'address', 'show', 'dev', link], netns))[0]
        ?.addr_info[0];
    t.like(await find('eth0', name), {broadcast});
    t.like(await find(name), {broadcast});
  }
});

test("settings of the container's interface; the bridge takes no router advertisements, its port has no address", async (t) => {
  const host = await makeHost(t);
  const a = await attach(host, 'a', bridgeNetwork({name: 'settings', cniVersion: '1.1.0'}));
  const read = async (names: readonly string[], argv: (...argv: string[]) => string[]) =>
    (await host.run(argv('cat', ...names.map((name) => `/proc/sys/net/${name}`)))).stdout.trim().split('\n');
  const inside = [
    'ipv4/conf/eth0/arp_notify',
    'ipv6/conf/eth0/accept_dad',
    'ipv6/conf/eth0/keep_addr_on_down',
  ];
  t.deepEqual(await read(inside, (...argv) => host.inNetns('a', argv)), ['1', '0', '1']);
  t.deepEqual(await read(['ipv6/conf/cni0/accept_ra'], (...argv) => argv), ['0']);
  t.is((await host.run(['ip', 'address', 'show', 'dev', a.port, 'up'])).stdout.match(/inet6?/), null);
  // Addresses survive a link that goes down for a moment.
  await host.run(host.inNetns('a', ['ip', 'link', 'set', 'eth0', 'down']));
  await host.run(host.inNetns('a', ['ip', 'link', 'set', 'eth0', 'up']));
  t.deepEqual(await listAddresses(host, 'eth0', 'a'), ['10.61.0.2/24', '2001:db8:61::2/64']);
});

test('routes of IPAM are made with their mtu, advmss, priority, table and scope', async (t) => {
  const host = await makeHost(t);
  const routes = [
    {dst: '198.51.100.0/24', gw: '10.61.0.1', mtu: 1300, advmss: 1200, priority: 50},
    {dst: '203.0.113.0/24', table: 1000, scope: 253},
    {dst: '198.18.0.0/15', gw: '10.61.0.7', table: 0},
    {dst: '2001:db8:99::/48', gw: '2001:db8:61::1', mtu: 1310, advmss: 1210, priority: 60},
    {dst: '2001:db8:98::/48', gw: '2001:db8:61::1', table: 1001},
  ];
  const conf = bridgeNetwork({
    name: 'routes',
    cniVersion: '1.1.0',
    ipam: {type: 'host-local', ranges: [range4, range6], routes},
  });
  const a = await attach(host, 'a', conf);
  t.deepEqual(a.result.routes, routes);
  const one = async (...argv: string[]) => (await showIp(host, argv, 'a'))[0];
  t.like(await one('route', 'show', '198.51.100.0/24'), {
    gateway: '10.61.0.1',
    metric: 50,
    metrics: [{mtu: 1300, advmss: 1200}],
  });
  t.like(await one('route', 'show', 'table', '1000'), {dst: '203.0.113.0/24', dev: 'eth0', scope: 'link'});
  t.like(await one('route', 'show', '198.18.0.0/15'), {gateway: '10.61.0.7'});
  t.like(await one('-6', 'route', 'show', '2001:db8:99::/48'), {
    gateway: '2001:db8:61::1',
    metric: 60,
    metrics: [{mtu: 1310, advmss: 1210}],
  });
  t.like(await one('-6', 'route', 'show', 'table', '1001'), {
    dst: '2001:db8:98::/48',
    gateway: '2001:db8:61::1',
  });
  t.is((await check(host, a)).code, 0);
  await detach(host, a);
});
