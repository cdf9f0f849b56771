import type {ExecutionContext} from 'ava';
import {
  attach,
  check,
  detach,
  fakeIpam,
  listAddresses,
  makeOutside,
  makePluginDir,
  pings,
  showIp,
  showLink,
} from './harness/attachment.ts';
import {ensurePackages} from './harness/debian.ts';
import {makeHost, type TestHost} from './harness/host.ts';
import {testWith} from './harness/needs.ts';
import {callPlugin, referenceDir, tryPlugin, type Reply} from './harness/plugin.ts';
import {assertNothingLeft, staysByDesign, takeSnapshot} from './harness/snapshot.ts';

const test = testWith('root', 'apt');

test.before(async () => {
  await ensurePackages('reference');
});

const cniVersion = '1.1.0';
const network = (more: Readonly<Record<string, unknown>> = {}) => ({
  cniVersion,
  name: 'points',
  type: 'ptp',
  ipMasq: true,
  ipam: {
    type: 'host-local',
    ranges: [[{subnet: '10.64.0.0/24'}], [{subnet: '2001:db8:64::/64'}]],
    routes: [{dst: '0.0.0.0/0'}, {dst: '::/0', mtu: 1400}],
  },
  ...more,
});
const allowed = [
  ...staysByDesign,
  /^mount nsfs /,
  /^file \/run\/(netns|plugins|xtables)/,
  // A router's anycast address of each of its links.
  /^route 2001:db8:ff:: +uplink0 local$/,
];

interface ShownRoute {
  readonly dst: string;
  readonly gateway?: string;
  readonly scope?: string;
  readonly prefsrc?: string;
  readonly dev: string;
}

async function routesOf(host: TestHost, family: '-4' | '-6', dev: string, netns?: string): Promise<string[]> {
  const routes = await showIp<ShownRoute>(host, [family, 'route', 'show', 'dev', dev], netns);
  return routes
    .filter(({dst}) => !dst.startsWith('fe80:'))
    .map(({dst, gateway, scope, prefsrc}) =>
      [
        dst,
        gateway && `via ${gateway}`,
        scope !== 'global' && family === '-4' && scope && `scope ${scope}`,
        prefsrc && `src ${prefsrc}`,
      ]
        .filter(Boolean)
        .join(' '),
    )
    .toSorted();
}

test('containers reach the host, each other and the outside, over IPv4 and IPv6, at once', async (t) => {
  const host = await makeHost(t);
  const outside = await makeOutside(host);
  const before = await takeSnapshot(host);
  const a = await attach(host, 'a', network());
  // IPv6 too: nobody waits for duplicate detection.
  for (const address of ['10.64.0.1', '2001:db8:64::1']) t.true(await pings(host, 'a', address), address);
  const b = await attach(host, 'b', network({name: 'points', mtu: 1300}));
  for (const address of b.addresses) t.true(await pings(host, 'a', address), address);
  await outside.sources();
  for (const address of [outside.address4, outside.address6])
    t.true(await pings(host, 'b', address), address);
  t.deepEqual(await outside.sources(), ['192.0.2.1', '2001:db8:ff::1']);
  t.is((await showLink(host, b.port)).mtu, 1300);
  t.is((await showLink(host, 'eth0', 'b')).mtu, 1300);
  for (const each of [a, b]) {
    const {code, stdout} = await check(host, each);
    t.is(code, 0, stdout);
    await detach(host, each);
    await detach(host, each);
  }
  await assertNothingLeft(t, host, before, allowed);
});

test('the result, the addresses and the routes', async (t) => {
  const host = await makeHost(t);
  const a = await attach(host, 'a', network({ipMasq: false, dns: {nameservers: ['10.64.0.1']}}));
  t.regex(a.port, /^veth[0-9a-f]{8}$/);
  const [port, container] = await Promise.all([showLink(host, a.port), showLink(host, 'eth0', 'a')]);
  t.deepEqual(a.result, {
    cniVersion,
    interfaces: [
      {name: a.port, mac: port.address},
      {name: 'eth0', mac: container.address, sandbox: a.netns},
    ],
    ips: [
      {address: '10.64.0.2/24', gateway: '10.64.0.1', interface: 1},
      {address: '2001:db8:64::2/64', gateway: '2001:db8:64::1', interface: 1},
    ],
    routes: [{dst: '0.0.0.0/0'}, {dst: '::/0', mtu: 1400}],
    dns: {nameservers: ['10.64.0.1']},
  } as never);
  t.deepEqual(await listAddresses(host, 'eth0', 'a'), ['10.64.0.2/24', '2001:db8:64::2/64']);
  t.deepEqual(await listAddresses(host, a.port), ['10.64.0.1/32', '2001:db8:64::1/128']);
  t.deepEqual(await routesOf(host, '-4', 'eth0', 'a'), [
    '10.64.0.0/24 via 10.64.0.1 src 10.64.0.2',
    '10.64.0.1 scope link src 10.64.0.2',
    'default via 10.64.0.1',
  ]);
  t.deepEqual(await routesOf(host, '-6', 'eth0', 'a'), [
    '2001:db8:64::/64 via 2001:db8:64::1 src 2001:db8:64::2',
    '2001:db8:64::1 src 2001:db8:64::2',
    'default via 2001:db8:64::1',
  ]);
  t.deepEqual(await routesOf(host, '-4', a.port), ['10.64.0.2 scope host']);
  t.true((await routesOf(host, '-6', a.port)).includes('2001:db8:64::2'));
  for (const key of ['net/ipv4/ip_forward', 'net/ipv6/conf/all/forwarding'])
    t.is((await host.run(['cat', `/proc/sys/${key}`])).stdout.trim(), '1');
});

test('without ipam the link has no addresses', async (t) => {
  const host = await makeHost(t);
  const before = await takeSnapshot(host);
  const a = await attach(host, 'a', {cniVersion, name: 'bare', type: 'ptp'});
  t.is(a.result.ips, undefined);
  t.is((await showLink(host, a.port)).operstate, 'UP');
  await host.sh(`ip address add 10.9.0.1/30 dev ${a.port}; ip -n a address add 10.9.0.2/30 dev eth0`);
  t.true(await pings(host, 'a', '10.9.0.1'));
  t.is((await check(host, a)).code, 0);
  await detach(host, a);
  await assertNothingLeft(t, host, before, allowed);
});

test('addresses that are subnets of their own, with gateways elsewhere', async (t) => {
  const host = await makeHost(t);
  const ipam = {
    type: 'static',
    addresses: [
      {address: '10.64.0.9/32', gateway: '169.254.1.1'},
      {address: '2001:db8:64::9/128', gateway: 'fe80::1'},
    ],
    routes: [{dst: '0.0.0.0/0'}, {dst: '::/0'}],
  };
  const a = await attach(host, 'a', network({ipMasq: false, ipam}));
  await host.sh('ip address add 192.0.2.77/32 dev lo; ip address add 2001:db8:77::1/128 dev lo');
  for (const address of ['192.0.2.77', '2001:db8:77::1']) t.true(await pings(host, 'a', address), address);
  t.is((await check(host, a)).code, 0);
});

test('the two kinds of masquerading', async (t) => {
  const host = await makeHost(t);
  const outside = await makeOutside(host);
  const before = await takeSnapshot(host);
  for (const conf of [
    network({ipMasqBackend: 'iptables'}),
    network({exemptDestinations: ['192.0.2.0/24', '2001:db8:ff::/64']}),
  ]) {
    const a = await attach(host, 'a', conf);
    await outside.sources();
    for (const address of [outside.address4, outside.address6]) t.true(await pings(host, 'a', address));
    const expected = 'exemptDestinations' in conf ? a.addresses : ['192.0.2.1', '2001:db8:ff::1'];
    t.deepEqual(await outside.sources(), [...expected].toSorted());
    t.is((await check(host, a)).code, 0);
    await detach(host, a);
    await host.removeNetns('a');
  }
  await assertNothingLeft(t, host, before, [
    ...allowed,
    /^nft chain ip6? nat POSTROUTING$/,
    /^nft table ip6? nat$/,
  ]);
});

for (const backend of ['nftables', 'iptables'])
  for (const [how, change] of [
    ['without CNI_NETNS', {netns: ''}],
    ['after the namespace is gone', {}],
    ['with a configuration that became nonsense', {conf: network({mtu: 'x', ipMasq: 7, dns: 7})}],
  ] as const)
    test(`${backend}: DEL ${how} leaves nothing`, async (t) => {
      const host = await makeHost(t);
      const before = await takeSnapshot(host);
      const {result: _result, ...a} = await attach(host, 'a', network({ipMasqBackend: backend}));
      if (how === 'after the namespace is gone') await host.removeNetns('a');
      await callPlugin(host, {...a, ...change, command: 'DEL'});
      await callPlugin(host, {...a, ...change, command: 'DEL'});
      await assertNothingLeft(t, host, before, allowed);
    });

test('GC removes links, masquerade and reservations of containers that are gone', async (t) => {
  const host = await makeHost(t);
  const before = await takeSnapshot(host);
  const a = await attach(host, 'a', network());
  const middle = await takeSnapshot(host);
  await attach(host, 'b', network());
  await host.removeNetns('b');
  await attach(host, 'c', network());
  const gc = (names: readonly string[]) =>
    callPlugin(host, {
      conf: network(),
      command: 'GC',
      attachments: names.map((containerID) => ({containerID, ifname: 'eth0'})),
    });
  await gc(['a']);
  await assertNothingLeft(t, host, middle, allowed);
  t.is((await check(host, a)).code, 0);
  await gc([]);
  await assertNothingLeft(t, host, before, allowed);
});

const damages: readonly (readonly [what: string, damage: string, says: RegExp])[] = [
  ['the way to the container', 'ip route del 10.64.0.2', /the host has no route to 10\.64\.0\.2\/32/],
  [
    'its gateway',
    'ip address del 2001:db8:64::1/128 dev $1',
    /gateway address 2001:db8:64::1\/128 is missing/,
  ],
  ['the host end', 'ip link set $1 down', /host interface "veth[0-9a-f]{8}" is down/],
  ['the masquerade', 'nft flush ruleset', /is not masqueraded/],
  ['forwarding', 'echo 0 > /proc/sys/net/ipv4/ip_forward', /forwarding is off: net\.ipv4\.ip_forward/],
  [
    'the route to the gateway',
    'ip -n a route del 10.64.0.1 dev eth0',
    /Expected Route 10\.64\.0\.1\/32 dev eth0 not found/,
  ],
  [
    'the route to the subnet',
    'ip -n a -6 route del 2001:db8:64::/64',
    /Expected Route 2001:db8:64::\/64 via 2001:db8:64::1 dev eth0 not found/,
  ],
  ['a route of IPAM', 'ip -n a route del default', /Expected Route 0\.0\.0\.0\/0 not found in routing table/],
  [
    'an address',
    'ip -n a address del 10.64.0.2/24 dev eth0',
    /Failed to match addr 10\.64\.0\.2\/24 on interface eth0/,
  ],
  [
    'the hardware address',
    'ip -n a link set eth0 address 02:00:00:00:00:01',
    /Interface eth0 Mac .* doesn't match/,
  ],
  ['the link', 'ip -n a link del eth0', /^ptp: Container Interface name in prevResult: eth0 not found$/],
  [
    'the kind of link',
    'ip -n a link del eth0; ip -n a link add eth0 type bridge; ip -n a link set eth0 up',
    /^Error: Container interface eth0 not of type veth\/p2p$/,
  ],
];

for (const [what, damage, says] of damages)
  test(`CHECK says that ${what} is gone or different`, async (t) => {
    const host = await makeHost(t);
    const a = await attach(host, 'a', network());
    t.is((await check(host, a)).code, 0);
    await host.sh(damage, {args: [a.port]});
    const {code, reply} = await check(host, a);
    t.is(code, 1);
    t.regex(reply?.msg ?? '', says);
  });

test('CHECK needs a previous result of this namespace', async (t) => {
  const host = await makeHost(t);
  const {result, ...a} = await attach(host, 'a', network());
  const none = await tryPlugin(host, {...a, command: 'CHECK'});
  t.is(none.reply?.msg, 'ptp: Required prevResult missing');
  const other = await host.addNetns('other');
  const elsewhere = await tryPlugin(host, {...a, netns: other, command: 'CHECK', prevResult: result});
  t.is(
    elsewhere.reply?.msg,
    "Sandbox in prevResult /run/netns/a doesn't match configured netns: /run/netns/other",
  );
});

/** An ADD that must fail and leave nothing. */
async function assertRefused(
  t: ExecutionContext,
  {conf, dir, says}: {conf: Readonly<Record<string, unknown>>; dir?: string; says: RegExp},
  host: TestHost,
): Promise<void> {
  const netns = await host.addNetns('pod');
  const before = await takeSnapshot(host);
  const call = {conf, netns, containerId: 'one', ...(dir && {dir})};
  const {code, reply} = await tryPlugin(host, {...call, command: 'ADD'});
  t.is(code, 1);
  t.regex(reply?.msg ?? '', says);
  await assertNothingLeft(t, host, before, allowed);
  t.notRegex((await host.run(host.inNetns('pod', ['ip', '-o', 'link']))).stdout, /eth0/);
}

test('an ADD whose IPAM gives no address fails and leaves nothing', async (t) => {
  const host = await makeHost(t);
  const dir = await makePluginDir(host, {fake: fakeIpam({cniVersion})});
  const conf = network({ipam: {type: 'fake'}});
  await assertRefused(t, {conf, dir, says: /^IPAM plugin returned missing IP config$/}, host);
});

test('an ADD whose IPAM gives no gateway fails and gives the address back', async (t) => {
  const host = await makeHost(t);
  const ipam = {type: 'static', addresses: [{address: '10.64.0.9/24'}]};
  await assertRefused(t, {conf: network({ipam}), says: /^IPAM gave 10\.64\.0\.9\/24 no gateway/}, host);
});

test('an ADD with a route the kernel refuses leaves nothing', async (t) => {
  const host = await makeHost(t);
  const ipam = {...network().ipam, routes: [{dst: '198.51.100.0/24', gw: '203.0.113.1'}]};
  const says = /^failed to add route '198\.51\.100\.0\/24 via 203\.0\.113\.1 dev eth0'/;
  await assertRefused(t, {conf: network({ipam}), says}, host);
});

test('ADD twice: the second fails, and the first one lives on', async (t) => {
  const host = await makeHost(t);
  const {result, ...a} = await attach(host, 'a', network());
  const static1 = {type: 'static', addresses: [{address: '10.64.0.9/24', gateway: '10.64.0.1'}]};
  const {reply} = await tryPlugin(host, {...a, conf: network({ipam: static1}), command: 'ADD'});
  t.regex(
    reply?.msg ?? '',
    /^container veth name \("eth0"\) peer provided \("veth[0-9a-f]{8}"\) already exists/,
  );
  t.is((await check(host, {...a, result})).code, 0);
});

test('a route to the address that is there already is a warning', async (t) => {
  const host = await makeHost(t);
  await host.sh(
    'ip link add dummy9 type bridge; ip link set dummy9 up; ip route add 10.64.0.2/32 dev dummy9',
  );
  const netns = await host.addNetns('pod');
  const {code, stderr} = await tryPlugin(host, {conf: network(), netns, containerId: 'one', command: 'ADD'});
  t.is(code, 0);
  t.regex(stderr, /10\.64\.0\.2\/32 has a route by "dummy9" already/);
});

test('STATUS succeeds, and says 50 where the host cannot be made to forward', async (t) => {
  const host = await makeHost(t);
  await callPlugin(host, {conf: network(), command: 'STATUS'});
  await host.sh('mount --bind -o ro /proc/sys /proc/sys; mount -o remount,ro,bind /proc/sys');
  const {reply} = await tryPlugin(host, {conf: network(), command: 'STATUS'});
  t.is(reply?.code, 50);
  t.regex(reply?.msg ?? '', /^cannot enable forwarding, which ptp needs/);
});

const plain = {
  ...network({ipMasq: true}),
  cniVersion: '1.0.0',
  ipam: {...network().ipam, routes: [{dst: '0.0.0.0/0'}, {dst: '::/0'}]},
};

test('a container of the reference is checked and removed by ours', async (t) => {
  const host = await makeHost(t);
  const netns = await host.addNetns('pod');
  const before = await takeSnapshot(host);
  const call = {conf: plain, containerId: 'swapped', netns};
  const prevResult = await callPlugin(host, {...call, command: 'ADD', dir: referenceDir()});
  const unmasked = {...call, conf: {...plain, ipMasq: false}};
  await callPlugin(host, {...unmasked, command: 'CHECK', prevResult});
  await callPlugin(host, {...call, command: 'DEL', prevResult});
  await assertNothingLeft(t, host, before, allowed);
});

test('a container of ours is checked and removed by the reference', async (t) => {
  const host = await makeHost(t);
  const netns = await host.addNetns('pod');
  const before = await takeSnapshot(host);
  const call = {conf: {...plain, ipMasq: false}, containerId: 'swapped', netns};
  const prevResult = await callPlugin(host, {...call, command: 'ADD'});
  await callPlugin(host, {...call, command: 'CHECK', dir: referenceDir(), prevResult});
  await callPlugin(host, {...call, command: 'DEL', dir: referenceDir(), prevResult});
  await assertNothingLeft(t, host, before, allowed);
});

test('makes the addresses and routes that the reference makes', async (t) => {
  const seen: unknown[] = [];
  for (const dir of [undefined, referenceDir()]) {
    const host = await makeHost(t);
    const a = await attach(host, 'a', plain, dir === undefined ? {} : {dir});
    const routes = [
      await routesOf(host, '-4', 'eth0', 'a'),
      await routesOf(host, '-6', 'eth0', 'a'),
      await routesOf(host, '-4', a.port),
      (await routesOf(host, '-6', a.port)).filter((route) => !route.startsWith('2001:db8:64::1')),
      await listAddresses(host, 'eth0', 'a'),
      await listAddresses(host, a.port),
    ];
    const {interfaces, ips, routes: named}: Reply = a.result;
    seen.push({routes, ips, named, interfaces: interfaces?.length});
  }
  t.deepEqual(seen[0], seen[1]);
});
