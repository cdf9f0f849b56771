import test from 'ava';
import {parseIp, type Family} from '../../../lib/ip/address.ts';
import {parseCidr} from '../../../lib/ip/cidr.ts';
import type {Neighbour} from '../../../lib/netlink/route/neighbour.ts';
import type {Route} from '../../../lib/netlink/route/route.ts';
import {OverlayPlanner, planDesired} from '../../../lib/overlay/desired.ts';
import type {Member, OverlayNetwork} from '../../../lib/overlay/member.ts';
import {formatOperation} from '../../../lib/overlay/operation.ts';
import {assumeActual, planOverlay} from '../../../lib/overlay/plan.ts';
import type {Actual, Desired, LocalSettings} from '../../../lib/overlay/state.ts';
import {local, member, network} from './members.ts';

const names = ['lo', 'eth0', 'flannel.1', 'flannel-v6.1'];
const devices = new Map([
  ['flannel.1', 3],
  ['flannel-v6.1', 4],
]);
const nothing: Actual = {devices, neighbours: [], ends: [], routes: []};

interface Situation {
  readonly net?: OverlayNetwork;
  readonly self?: Member;
  readonly peers: readonly Member[];
  readonly settings?: LocalSettings;
}

function desire({net = network(), self = member(1), peers, settings = local()}: Situation): Desired {
  return planDesired({network: net, self, peers}, settings);
}

function commands(desired: Desired, actual: Actual): string[] {
  return planOverlay(desired, actual).operations.map((each) =>
    formatOperation(each, (ifindex) => names[ifindex - 1] ?? `#${ifindex}`),
  );
}

const route = (dst: string, changes: Partial<Route>): Route => ({
  dst: parseCidr(dst)!,
  ...{table: 254, scope: 0, protocol: 119, type: 1, priority: 0, flags: 4, onlink: true},
  ifindex: 3,
  ...changes,
});
const neighbour = (ip: string, lladdr: string, ifindex = 3): Neighbour => ({
  ifindex,
  ip: parseIp(ip)!,
  lladdr,
});
const end = (lladdr: string, ip: string, ifindex = 3): Neighbour => ({
  ...neighbour(ip, lladdr, ifindex),
  bridge: true,
  flags: 2,
});

/** What the kernel has after everything for these peers was done. */
function having(situation: Situation): Actual {
  return assumeActual(desire(situation), {devices});
}

const two = desire({peers: [member(2)]});

test('a new peer: its neighbour, the end of the tunnel, then the route', (t) => {
  t.deepEqual(commands(two, nothing), [
    'ip neigh replace 10.244.2.0 lladdr 02:00:00:00:04:02 dev flannel.1',
    'bridge fdb replace 02:00:00:00:04:02 dev flannel.1 dst 192.0.2.2',
    'ip route replace 10.244.2.0/24 via 10.244.2.0 dev flannel.1 onlink',
  ]);
});

test('what is there already costs nothing', (t) => {
  t.deepEqual(commands(two, having({peers: [member(2)]})), []);
});

test('a peer that left: the route first, the neighbour last', (t) => {
  t.deepEqual(commands(desire({peers: []}), having({peers: [member(2)]})), [
    'ip route del 10.244.2.0/24 via 10.244.2.0 dev flannel.1',
    'bridge fdb del 02:00:00:00:04:02 dev flannel.1 dst 192.0.2.2',
    'ip neigh del 10.244.2.0 dev flannel.1',
  ]);
});

const changes: readonly (readonly [
  title: string,
  before: Situation,
  after: Situation,
  expected: readonly string[],
])[] = [
  [
    'another hardware address: the new end, the neighbour, and only then the old end goes',
    {peers: [member(2)]},
    {peers: [member(2, {macs: {4: '02:00:00:00:04:99'}})]},
    [
      'bridge fdb replace 02:00:00:00:04:99 dev flannel.1 dst 192.0.2.2',
      'ip neigh replace 10.244.2.0 lladdr 02:00:00:00:04:99 dev flannel.1',
      'bridge fdb del 02:00:00:00:04:02 dev flannel.1 dst 192.0.2.2',
    ],
  ],
  [
    'another address in the underlay: one message',
    {peers: [member(2)]},
    {peers: [{...member(2), underlay: member(7).underlay}]},
    ['bridge fdb replace 02:00:00:00:04:02 dev flannel.1 dst 192.0.2.7'],
  ],
  [
    'another subnet: the new one, then the old one goes',
    {peers: [member(2)]},
    {peers: [member(2, {subnets: ['10.244.9.0/24']})]},
    [
      'ip neigh replace 10.244.9.0 lladdr 02:00:00:00:04:02 dev flannel.1',
      'ip route replace 10.244.9.0/24 via 10.244.9.0 dev flannel.1 onlink',
      'ip route del 10.244.2.0/24 via 10.244.2.0 dev flannel.1',
      'ip neigh del 10.244.2.0 dev flannel.1',
    ],
  ],
  [
    'a host replaced by another with its subnet: no moment without a route',
    {peers: [member(2)]},
    {peers: [member(3, {subnets: ['10.244.2.0/24']})]},
    [
      'bridge fdb replace 02:00:00:00:04:03 dev flannel.1 dst 192.0.2.3',
      'ip neigh replace 10.244.2.0 lladdr 02:00:00:00:04:03 dev flannel.1',
      'bridge fdb del 02:00:00:00:04:02 dev flannel.1 dst 192.0.2.2',
    ],
  ],
  [
    'from the tunnel to the same segment: one route takes the place of the other',
    {peers: [member(2)]},
    {
      net: network({directRouting: true}),
      peers: [member(2)],
      settings: local({direct: new Map([['192.0.2.2', 2]])}),
    },
    [
      'ip route replace 10.244.2.0/24 via 192.0.2.2 dev eth0',
      'bridge fdb del 02:00:00:00:04:02 dev flannel.1 dst 192.0.2.2',
      'ip neigh del 10.244.2.0 dev flannel.1',
    ],
  ],
  [
    'and back: the tunnel is there before the route leads into it',
    {
      net: network({directRouting: true}),
      peers: [member(2)],
      settings: local({direct: new Map([['192.0.2.2', 2]])}),
    },
    {net: network({directRouting: true}), peers: [member(2)]},
    [
      'ip neigh replace 10.244.2.0 lladdr 02:00:00:00:04:02 dev flannel.1',
      'bridge fdb replace 02:00:00:00:04:02 dev flannel.1 dst 192.0.2.2',
      'ip route replace 10.244.2.0/24 via 10.244.2.0 dev flannel.1 onlink',
    ],
  ],
  [
    'a peer with a smaller MTU: on its route alone',
    {peers: [member(2), member(3)]},
    {peers: [member(2, {mtu: 1350}), member(3, {mtu: 8950})]},
    ['ip route replace 10.244.2.0/24 via 10.244.2.0 dev flannel.1 onlink mtu 1350'],
  ],
  [
    'a narrow path that a probe found',
    {peers: [member(2)]},
    {peers: [member(2)], settings: local({pathMtu: new Map([['host-2', 1340]])})},
    ['ip route replace 10.244.2.0/24 via 10.244.2.0 dev flannel.1 onlink mtu 1340'],
  ],
];

for (const [title, before, after, expected] of changes) {
  test(title, (t) => t.deepEqual(commands(desire(after), having(before)), [...expected]));
}

test('both families, each over its own underlay', (t) => {
  const both: readonly Family[] = [4, 6];
  const of = (n: number) => member(n, {underlay: both, overlay: both});
  const desired = desire({self: of(1), peers: [of(2)], settings: local({}, both)});
  t.deepEqual(commands(desired, nothing), [
    'ip neigh replace 10.244.2.0 lladdr 02:00:00:00:04:02 dev flannel.1',
    'ip neigh replace fd00:244:0:2:: lladdr 02:00:00:00:06:02 dev flannel-v6.1',
    'bridge fdb replace 02:00:00:00:04:02 dev flannel.1 dst 192.0.2.2',
    'bridge fdb replace 02:00:00:00:06:02 dev flannel-v6.1 dst 2001:db8::2',
    'ip route replace 10.244.2.0/24 via 10.244.2.0 dev flannel.1 onlink',
    'ip route replace fd00:244:0:2::/64 via fd00:244:0:2:: dev flannel-v6.1 onlink',
  ]);
});

test('both families over IPv4: one device, one end', (t) => {
  const of = (n: number) => member(n, {overlay: [4, 6]});
  t.deepEqual(commands(desire({self: of(1), peers: [of(2)]}), nothing), [
    'ip neigh replace 10.244.2.0 lladdr 02:00:00:00:04:02 dev flannel.1',
    'ip neigh replace fd00:244:0:2:: lladdr 02:00:00:00:04:02 dev flannel.1',
    'bridge fdb replace 02:00:00:00:04:02 dev flannel.1 dst 192.0.2.2',
    'ip route replace 10.244.2.0/24 via 10.244.2.0 dev flannel.1 onlink',
    'ip route replace fd00:244:0:2::/64 via fd00:244:0:2:: dev flannel.1 onlink',
  ]);
});

test('stale things of ours go, things of others stay', (t) => {
  const actual: Actual = {
    devices,
    neighbours: [neighbour('10.244.7.0', '02:00:00:00:00:07')],
    ends: [end('02:00:00:00:00:07', '192.0.2.7')],
    routes: [
      route('10.244.7.0/24', {gateway: parseIp('10.244.7.0')!}),
      // Direct, through a link that is not ours.
      route('10.244.8.0/24', {gateway: parseIp('192.0.2.8')!, ifindex: 2, onlink: false}),
      // flannel's own.
      route('10.244.9.0/24', {gateway: parseIp('10.244.9.0')!, protocol: 3}),
      // Of another overlay network.
      route('10.9.0.0/24', {gateway: parseIp('192.0.2.8')!, ifindex: 2}),
      // An administrator's.
      route('10.244.200.0/24', {gateway: parseIp('192.0.2.9')!, ifindex: 2, protocol: 4}),
      route('10.244.201.0/24', {ifindex: 3, protocol: 4, onlink: false}),
    ],
  };
  t.deepEqual(commands(desire({peers: []}), actual), [
    'ip route del 10.244.7.0/24 via 10.244.7.0 dev flannel.1',
    'ip route del 10.244.8.0/24 via 192.0.2.8 dev eth0',
    'ip route del 10.244.9.0/24 via 10.244.9.0 dev flannel.1',
    'bridge fdb del 02:00:00:00:00:07 dev flannel.1 dst 192.0.2.7',
    'ip neigh del 10.244.7.0 dev flannel.1',
  ]);
});

test("flannel's entries are taken over: only the mark of the route changes", (t) => {
  const {neighbours, ends, routes} = having({peers: [member(2)]});
  const flannels = routes.map((each) => ({...each, protocol: 3}));
  t.deepEqual(commands(two, {devices, neighbours, ends, routes: flannels}), [
    'ip route replace 10.244.2.0/24 via 10.244.2.0 dev flannel.1 onlink',
  ]);
});

test("a network of the host's own is not routed away", (t) => {
  const cni0 = route('10.244.2.0/24', {ifindex: 9, protocol: 2, scope: 253, onlink: false});
  const ours = route('10.244.2.0/24', {gateway: parseIp('10.244.2.0')!});
  const {operations, obstacles} = planOverlay(two, {...nothing, routes: [cni0, ours]});
  t.deepEqual(
    operations.map(({kind, action}) => `${action} ${kind}`),
    ['set neighbour', 'set end', 'remove route'],
  );
  t.deepEqual(obstacles, [{peer: 'host-2', text: "10.244.2.0/24 is a network of this host's own (link 9)"}]);
});

test('without its device a peer waits', (t) => {
  t.deepEqual(commands(two, {...nothing, devices: new Map()}), []);
});

test('what follows from a member that is the same object is the same object', (t) => {
  const planner = new OverlayPlanner();
  const peers = [2, 3, 4].map((n) => member(n));
  const before = planner.plan({network: network(), self: member(1), peers}, local());
  const changed = [...peers.slice(0, 2), member(4, {macs: {4: '02:00:00:00:04:99'}})];
  const next = planner.plan({network: network(), self: member(1), peers: changed}, local());
  t.deepEqual(
    next.peers.map((state, i) => state === before.peers[i]),
    [true, true, false],
  );
});

test('other settings of this host: nothing of before is kept', (t) => {
  const planner = new OverlayPlanner();
  const membership = {network: network(), self: member(1), peers: [member(2, {mtu: 1430})]};
  const [before] = planner.plan(membership, local()).peers;
  const [after] = planner.plan(membership, local({mtu: 1400})).peers;
  t.is(before!.routes[0]!.mtu, 1430);
  t.is(after!.routes[0]!.mtu, undefined);
});
