import type {ExecutionContext} from 'ava';
import {parseIp} from '../lib/ip/address.ts';
import {parseCidr} from '../lib/ip/cidr.ts';
import {addAddress} from '../lib/netlink/route/address.ts';
import {addLink, getLink, removeLink, setLink} from '../lib/netlink/route/link.ts';
import {ensureChecksums} from '../lib/overlay/checksum.ts';
import {findDirect} from '../lib/overlay/direct.ts';
import {ensureDevice} from '../lib/overlay/ensure-device.ts';
import {planDesired} from '../lib/overlay/desired.ts';
import type {Endpoint, Member} from '../lib/overlay/member.ts';
import type {LocalSettings} from '../lib/overlay/state.ts';
import {
  makeLocal,
  makeMember,
  makeNetwork,
  makePair,
  reconcile,
  type OverlayHost,
} from './harness/overlay-pair.ts';
import {makeNamespace, type TestNamespace} from './harness/namespace.ts';
import {testWith} from './harness/needs.ts';

const test = testWith('root');
const members = [makeMember(1), makeMember(2)];

/** Both hosts in step, and a packet through the tunnel to show it. */
async function joined(t: ExecutionContext): Promise<readonly [OverlayHost, OverlayHost]> {
  const pair = await makePair(t);
  for (const host of pair) await reconcile(t, host, {members});
  await ping(t, pair[0]);
  return pair;
}

async function ping(t: ExecutionContext, host: OverlayHost, to = '10.244.2.1'): Promise<void> {
  await t.notThrowsAsync(host.run('ping', '-c', '3', '-i', '0.3', '-W', '10', to));
}

const steps = {
  neighbour: 'ip neigh replace 10.244.2.0 lladdr',
  end: 'bridge fdb replace',
  route: 'ip route replace 10.244.2.0/24 via 10.244.2.0 dev flannel.1 onlink',
};

/** What others do to the kernel, and what has to be repaired. */
const damages: readonly (readonly [
  title: string,
  commands: readonly string[],
  repaired: readonly (keyof typeof steps)[],
])[] = [
  ['the device is removed', ['ip link del flannel.1'], ['neighbour', 'end', 'route']],
  [
    'the device goes down and up',
    ['ip link set flannel.1 down', 'ip link set flannel.1 up'],
    ['neighbour', 'route'],
  ],
  ['the device stays down', ['ip link set flannel.1 down'], ['neighbour', 'route']],
  ['its hardware address is changed', ['ip link set flannel.1 address 02:00:00:00:00:77'], ['neighbour']],
  ['neighbours are flushed', ['ip neigh flush dev flannel.1 nud permanent'], ['neighbour']],
  ['routes are flushed', ['ip route flush proto 119'], ['route']],
  ['the forwarding entry is deleted', ['bridge fdb flush dev flannel.1'], ['end']],
  // With the last one IPv4 leaves the device.
  ['its address is taken away', ['ip addr flush dev flannel.1'], ['neighbour', 'route']],
  [
    'it is of another port',
    ['ip link del flannel.1', 'ip link add flannel.1 type vxlan id 1 dstport 4789 dev eth0'],
    ['neighbour', 'end', 'route'],
  ],
];

for (const [title, commands, repaired] of damages) {
  test(`${title}: one round brings it back`, async (t) => {
    const [a] = await joined(t);
    const {mac} = await getLink(a.rt, {name: 'flannel.1'});
    for (const command of commands) await a.run(...command.split(' '));
    const {operations} = await reconcile(t, a, {members});
    t.deepEqual(
      operations.map((text) => Object.entries(steps).find(([, start]) => text.startsWith(start))?.[0]),
      [...repaired],
    );
    t.is((await getLink(a.rt, {name: 'flannel.1'})).mac, mac);
    await ping(t, a);
    t.deepEqual((await reconcile(t, a, {members})).operations, []);
  });
}

test('what flannel left is taken over: the device stays, the routes change their mark', async (t) => {
  const [a, b] = await makePair(t);
  await reconcile(t, b, {members});
  const [self, peer] = members as [Member, Member];
  for (const command of [
    `ip link add flannel.1 mtu 1450 address ${self.macs[4]} type vxlan id 1 local 192.168.50.1 dev eth0 dstport 8472 nolearning`,
    'ip addr add 10.244.1.0/32 dev flannel.1',
    'ip link set flannel.1 up',
    `ip neigh replace 10.244.2.0 lladdr ${peer.macs[4]} dev flannel.1 nud permanent`,
    `bridge fdb append ${peer.macs[4]} dev flannel.1 dst 192.168.50.2 self permanent`,
    'ip route add 10.244.2.0/24 via 10.244.2.0 dev flannel.1 onlink',
    // Of hosts that left while flanneld was down.
    'ip neigh replace 10.244.9.0 lladdr 02:00:00:00:00:09 dev flannel.1 nud permanent',
    'bridge fdb append 02:00:00:00:00:09 dev flannel.1 dst 192.168.50.9 self permanent',
    'ip route add 10.244.9.0/24 via 10.244.9.0 dev flannel.1 onlink',
  ])
    await a.run(...command.split(' '));
  const before = await getLink(a.rt, {name: 'flannel.1'});
  await ping(t, a);
  const {devices, operations} = await reconcile(t, a, {members});
  t.is(devices[0]!.outcome, 'changed');
  t.is(devices[0]!.link.ifindex, before.ifindex);
  t.deepEqual(operations, [
    'ip route replace 10.244.2.0/24 via 10.244.2.0 dev flannel.1 onlink',
    'ip route del 10.244.9.0/24 via 10.244.9.0 dev flannel.1',
    'bridge fdb del 02:00:00:00:00:09 dev flannel.1 dst 192.168.50.9',
    'ip neigh del 10.244.9.0 dev flannel.1',
  ]);
  await ping(t, a);
  const routes = await a.show('ip', 'route', 'show', 'dev', 'flannel.1');
  t.deepEqual(
    routes.map(({dst, protocol}) => [dst, protocol]),
    [['10.244.2.0/24', '119']],
  );
});

test('another address and another MTU of the underlay are taken in place', async (t) => {
  const [a, b] = await joined(t);
  const {ifindex} = await getLink(a.rt, {name: 'flannel.1'});
  // The other way round the new one would go with the old, whose secondary it was.
  await a.run('ip', 'addr', 'del', '192.168.50.1/24', 'dev', 'eth0');
  await a.run('ip', 'addr', 'add', '192.168.50.11/24', 'dev', 'eth0');
  for (const host of [a, b]) await setLink(host.rt, {name: 'eth0'}, {mtu: 1400});
  const moved = {...members[0]!, underlay: [parseIp('192.168.50.11')!]};
  const settings = (host: OverlayHost, address: string): LocalSettings => ({
    carrier: {ifindex: host.ifindex, mtu: 1400, addresses: [parseIp(address)!]},
  });
  const atA = await reconcile(t, a, {members: [moved, members[1]!], local: settings(a, '192.168.50.11')});
  const atB = await reconcile(t, b, {members: [moved, members[1]!], local: settings(b, '192.168.50.2')});
  t.is(atA.devices[0]!.link.ifindex, ifindex);
  t.regex(atA.devices[0]!.what, /local 192\.168\.50\.1 -> 192\.168\.50\.11, mtu 1450 -> 1350/);
  t.deepEqual(atB.operations, [`bridge fdb replace ${members[0]!.macs[4]} dev flannel.1 dst 192.168.50.11`]);
  await t.notThrowsAsync(
    a.run('ping', '-c', '3', '-i', '0.3', '-W', '10', '-M', 'do', '-s', '1322', '10.244.2.1'),
  );
});

test('a peer of the same segment without a tunnel, and with one again', async (t) => {
  const [a, b] = await joined(t);
  const network = makeNetwork({directRouting: true});
  const direct = await findDirect(a.rt, [parseIp('192.168.50.2')!, parseIp('203.0.113.1')!]);
  t.deepEqual([...direct], [['192.168.50.2', a.ifindex]]);
  const {operations} = await reconcile(t, a, {network, members, local: {...makeLocal(a), direct}});
  t.deepEqual(operations, [
    'ip route replace 10.244.2.0/24 via 192.168.50.2 dev eth0',
    `bridge fdb del ${members[1]!.macs[4]} dev flannel.1 dst 192.168.50.2`,
    'ip neigh del 10.244.2.0 dev flannel.1',
  ]);
  const both = await findDirect(b.rt, [parseIp('192.168.50.1')!]);
  await reconcile(t, b, {network, members, local: {...makeLocal(b), direct: both}});
  await ping(t, a);
  // As large as the underlay carries: there is no tunnel.
  await t.notThrowsAsync(
    a.run('ping', '-c', '3', '-i', '0.3', '-W', '10', '-M', 'do', '-s', '1472', '10.244.2.1'),
  );
  for (const host of [a, b]) await reconcile(t, host, {network, members});
  await ping(t, a);
});

test('checksums are computed before the tunnel where the kernel needs it', async (t) => {
  const [a] = await joined(t);
  const ensure = (workaround: 'auto' | 'always') =>
    a.netns.run(() => ensureChecksums('flannel.1', {workaround}));
  t.false(ensure('auto'));
  t.true(ensure('always'));
  t.false(ensure('always'));
  await ping(t, a);
  await removeLink(a.rt, {name: 'flannel.1'});
  t.throws(() => ensure('always'), {code: 'ENODEV'});
});

test('a VNI that another device has is said to be taken, and by whom', async (t) => {
  const [a] = await makePair(t);
  await a.run('ip', 'link', 'add', 'theirs', 'type', 'vxlan', 'id', '1', 'dstport', '8472', 'dev', 'eth0');
  const [self, peer] = members as [Member, Member];
  const {devices} = planDesired({network: makeNetwork(), self, peers: [peer]}, makeLocal(a));
  await t.throwsAsync(ensureDevice(a, devices[0]!), {
    message: /^VNI 1 on port 8472 is taken by the device theirs: remove it/,
  });
  await removeLink(a.rt, {name: 'theirs'});
  t.is((await ensureDevice(a, devices[0]!)).outcome, 'made');
});

test('a link of that name that is no vxlan device is not removed', async (t) => {
  const [a] = await makePair(t);
  await a.run('ip', 'link', 'add', 'flannel.1', 'type', 'bridge');
  const [self, peer] = members as [Member, Member];
  const {devices} = planDesired({network: makeNetwork(), self, peers: [peer]}, makeLocal(a));
  await t.throwsAsync(ensureDevice(a, devices[0]!), {message: /is no vxlan device: ip link del flannel\.1/});
  t.is((await getLink(a.rt, {name: 'flannel.1'})).info?.kind, 'bridge');
});

/** A container on the segment. */
async function addContainer(
  t: ExecutionContext,
  {rt}: OverlayHost,
  {ip, mac}: {readonly ip: string; readonly mac: string},
): Promise<TestNamespace> {
  const container = await makeNamespace(t);
  const {ifindex: master} = await getLink(rt, {name: 'ov7'});
  const peer = {name: 'eth0', mac, mtu: 1450, netnsFd: container.netns.fd};
  await addLink(rt, {name: 'c0', master, up: true, info: {kind: 'veth', data: {peer}}});
  const {ifindex} = await getLink(container.rt, {name: 'eth0'});
  await setLink(container.rt, {ifindex}, {up: true});
  await addAddress(container.rt, {...parseCidr(ip)!, ifindex});
  return container;
}

const containers = [1, 2].map((n) => ({ip: `10.9.0.${n}/24`, mac: `02:aa:00:00:00:0${n}`}));
const endpointsOf = (n: number): Endpoint[] => [
  {ips: [parseIp(`10.9.0.${n}`)!], mac: containers[n - 1]!.mac},
];
const segment = makeNetwork({form: 'l2', vni: 7, ranges: [parseCidr('10.9.0.0/24')!]});

for (const withEndpoints of [true, false]) {
  const how = withEndpoints
    ? 'with endpoints: ARP is answered where it is asked'
    : 'without endpoints: by flooding and learning';
  test(`one segment over two hosts, ${how}`, async (t) => {
    const pair = await makePair(t);
    const both = [1, 2].map((n): Member => ({
      ...makeMember(n, {vni: 7, overlay: []}),
      endpoints: withEndpoints ? endpointsOf(n) : undefined,
    }));
    const pods: TestNamespace[] = [];
    for (const host of pair) {
      const round = {network: segment, members: both, local: {...makeLocal(host), bridge: 'ov7'}};
      await reconcile(t, host, round);
      pods.push(await addContainer(t, host, containers[host.number - 1]!));
      t.deepEqual((await reconcile(t, host, round)).operations, []);
    }
    const [a] = pair;
    const [near, far] = pods as [TestNamespace, TestNamespace];
    await far.run(
      'nft',
      'add table arp t; add chain arp t c { type filter hook input priority 0; }; add rule arp t c counter',
    );
    // Nobody has that address: does the question leave the host?
    await t.throwsAsync(near.run('ping', '-c', '1', '-W', '1', '10.9.0.99'));
    const heard = /packets (\d+)/.exec((await far.run('nft', 'list', 'ruleset')).stdout);
    t.is(Number(heard![1]) > 0, !withEndpoints);
    await t.notThrowsAsync(near.run('ping', '-c', '3', '-i', '0.2', '-W', '5', '10.9.0.2'));
    const [device] = await a.show('ip', 'link', 'show', 'flannel.7');
    t.is(device!['master'], 'ov7');
    const fdb = (await a.run('bridge', 'fdb', 'show', 'dev', 'flannel.7')).stdout.split('\n');
    const learned = fdb.filter((line) => line.includes('dst 192.168.50.2') && !line.includes('permanent'));
    t.is(learned.length > 0, !withEndpoints);
  });
}
