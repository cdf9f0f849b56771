import test from 'ava';
import {formatIp, parseIp} from '../../../lib/ip/address.ts';
import {formatCidr, parseCidr} from '../../../lib/ip/cidr.ts';
import type {Route, RouteSpec} from '../../../lib/netlink/route/route.ts';
import {planTables} from '../../../plugins/sbr/plan.ts';
import type {Situation, Wishes} from '../../../plugins/sbr/plan.ts';

const ifindex = 7;

interface Given extends Partial<Omit<Route, 'dst' | 'gateway' | 'src'>> {
  readonly via?: string;
  readonly src?: string;
}

function route(dst: string, {via, src, ...rest}: Given = {}): Route {
  return {
    dst: parseCidr(dst)!,
    gateway: via === undefined ? undefined : parseIp(via),
    src: src === undefined ? undefined : parseIp(src),
    ifindex,
    table: 254,
    scope: via === undefined ? 253 : 0,
    protocol: 2,
    type: 1,
    priority: 0,
    flags: 0,
    ...rest,
  };
}

function show({dst, gateway, src, table, priority, multipath}: RouteSpec): string {
  const parts = [
    formatCidr(dst),
    gateway && `via ${formatIp(gateway)}`,
    multipath && `${multipath.length} ways`,
    src && `src ${formatIp(src)}`,
    priority && `metric ${priority}`,
    table !== 254 && `table ${table}`,
  ];
  return parts.filter(Boolean).join(' ');
}

function plan(
  ips: readonly string[],
  {routes = [], rules = []}: Partial<Situation>,
  {gateways = [], addSourceHints = false}: {gateways?: readonly string[]; addSourceHints?: boolean} = {},
) {
  const wishes: Wishes = {
    ips: ips.map((text) => {
      const [address = '', gateway] = text.split(' via ');
      return {address: parseCidr(address)!, ...(gateway && {gateway: parseIp(gateway)!})};
    }),
    gateways: gateways.map((text) => parseIp(text)!),
    addSourceHints,
  };
  const {addresses, removed, hints} = planTables({ifindex, rules, routes}, wishes);
  return {
    rules: addresses.map(({rule}) => `from ${formatCidr(rule.src)} lookup ${rule.table}`),
    routes: addresses.flatMap((each) => each.routes.map(show)),
    removed: removed.map(show),
    hints: hints.map(show),
  };
}

test('one address: the route to its subnet moves, and its gateway becomes the way out', (t) => {
  t.deepEqual(plan(['10.1.0.7/24 via 10.1.0.1'], {routes: [route('10.1.0.0/24', {src: '10.1.0.7'})]}), {
    rules: ['from 10.1.0.7/32 lookup 100'],
    routes: ['10.1.0.0/24 src 10.1.0.7 table 100', '0.0.0.0/0 via 10.1.0.1 table 100'],
    removed: ['10.1.0.0/24 src 10.1.0.7'],
    hints: [],
  });
});

test('each address has a table with the routes that concern it', (t) => {
  const routes = [
    route('0.0.0.0/0', {via: '10.1.0.1'}),
    route('10.1.0.0/24', {src: '10.1.0.7'}),
    route('10.2.0.0/24', {src: '10.2.0.7'}),
    route('10.9.0.0/16', {via: '10.2.0.1'}),
    route('10.8.0.0/16'),
    route('fd00::/64', {scope: 0, priority: 256}),
  ];
  t.deepEqual(plan(['10.1.0.7/24', '10.2.0.7/24 via 10.2.0.1', 'fd00::7/64 via fd00::1'], {routes}), {
    rules: ['from 10.1.0.7/32 lookup 100', 'from 10.2.0.7/32 lookup 101', 'from fd00::7/128 lookup 102'],
    routes: [
      '10.1.0.0/24 src 10.1.0.7 table 100',
      '10.8.0.0/16 table 100',
      '0.0.0.0/0 via 10.1.0.1 table 100',
      '10.2.0.0/24 src 10.2.0.7 table 101',
      '10.8.0.0/16 table 101',
      '10.9.0.0/16 via 10.2.0.1 table 101',
      '0.0.0.0/0 via 10.2.0.1 table 101',
      'fd00::/64 metric 256 table 102',
      '::/0 via fd00::1 table 102',
    ],
    // First what needs the others, so that all can be put back in reverse.
    removed: [0, 3, 1, 2, 4, 5].map((i) => show(routes[i]!)),
    hints: [],
  });
});

test('tables that a rule leads to or that have routes are not taken, nor those of the kernel', (t) => {
  const rules = [
    {family: 6, table: 100} as const,
    ...Array.from({length: 150}, (_, i) => ({family: 4, table: 103 + i}) as const),
  ];
  const routes = [route('10.5.0.0/16', {ifindex: 3, table: 101})];
  t.deepEqual(plan(['10.1.0.7/24', '10.1.0.8/24'], {rules, routes}).rules, [
    'from 10.1.0.7/32 lookup 102',
    'from 10.1.0.8/32 lookup 256',
  ]);
});

test('routes of other links, of other tables, of other kinds and link-local ones stay', (t) => {
  const routes = [
    route('10.1.0.0/24', {ifindex: 3}),
    route('10.1.0.7/32', {table: 255, type: 2}),
    route('10.6.0.0/16', {type: 6}),
    route('fe80::/64', {priority: 256}),
  ];
  const planned = plan(['10.1.0.7/24', 'fd00::7/64'], {routes});
  t.deepEqual(planned.routes, []);
  t.deepEqual(planned.removed, []);
});

test('a link-local gateway belongs to every address of its family', (t) => {
  const routes = [route('::/0', {via: 'fe80::1', priority: 1024}), route('fd00::/64', {priority: 256})];
  t.deepEqual(plan(['fd00::7/64', '10.1.0.7/24'], {routes}).routes, [
    'fd00::/64 metric 256 table 100',
    '::/0 via fe80::1 metric 1024 table 100',
  ]);
});

test('of an IPv6 route with several ways those through the link move, one by one', (t) => {
  const hop = (gateway: string, link: number) => ({ifindex: link, gateway: parseIp(gateway)!, weight: 1});
  const {ifindex: _, ...several} = route('::/0', {
    priority: 1024,
    multipath: [hop('fd00:3::1', 3), hop('fd00::1', ifindex)],
  });
  const planned = plan(['fd00::7/64 via fd00::1'], {routes: [several]});
  t.deepEqual(planned.removed, ['::/0 via fd00::1 metric 1024']);
  t.deepEqual(planned.routes, ['::/0 via fd00::1 metric 1024 table 100']);
});

test('an IPv4 route with several ways moves if all are through the link', (t) => {
  const hop = (gateway: string, link: number) => ({ifindex: link, gateway: parseIp(gateway)!, weight: 1});
  const {ifindex: _, ...all} = route('10.9.0.0/16', {
    multipath: [hop('10.1.0.1', ifindex), hop('10.1.0.2', ifindex)],
  });
  const {ifindex: __, ...some} = route('10.8.0.0/16', {
    multipath: [hop('10.1.0.1', ifindex), hop('10.3.0.2', 3)],
  });
  const planned = plan(['10.1.0.7/24'], {routes: [all, some]});
  t.deepEqual(planned.removed, ['10.9.0.0/16 2 ways']);
  t.deepEqual(planned.routes, ['10.9.0.0/16 2 ways table 100']);
});

test('gateways of the configuration take the place of all others of their family', (t) => {
  const routes = [
    route('0.0.0.0/0', {via: '10.1.0.1'}),
    route('10.1.0.0/24', {src: '10.1.0.7'}),
    route('::/0', {via: 'fd00::1'}),
  ];
  const ips = ['10.1.0.7/24 via 10.1.0.1', 'fd00::7/64'];
  t.deepEqual(plan(ips, {routes}, {gateways: ['10.1.0.9']}).routes, [
    '10.1.0.0/24 src 10.1.0.7 table 100',
    '0.0.0.0/0 via 10.1.0.9 table 100',
    '::/0 via fd00::1 table 101',
  ]);
});

test('with hints the route to the subnet stays where it has the source, and is made where it has none', (t) => {
  const routes = [
    route('0.0.0.0/0', {via: '10.1.0.1'}),
    route('10.1.0.0/24', {src: '10.1.0.7'}),
    route('10.8.0.0/16'),
    route('fd00::/64', {priority: 256, scope: 0}),
  ];
  const planned = plan(['10.1.0.8/24', '10.1.0.7/24', 'fd00::7/64'], {routes}, {addSourceHints: true});
  t.deepEqual(planned.removed, ['0.0.0.0/0 via 10.1.0.1', 'fd00::/64 metric 256']);
  t.deepEqual(planned.hints, ['fd00::/64 src fd00::7 metric 256']);
});

test('with hints a subnet without a route gets one', (t) => {
  const planned = plan(['10.1.0.8/24', '10.1.0.7/24'], {routes: []}, {addSourceHints: true});
  t.deepEqual(planned.hints, ['10.1.0.0/24 src 10.1.0.8']);
});

test('without an address of its own a family stays as it is', (t) => {
  const routes = [route('10.1.0.0/24', {src: '10.1.0.7'}), route('fd00::/64', {priority: 256})];
  t.deepEqual(plan(['10.1.0.7/24'], {routes}).removed, ['10.1.0.0/24 src 10.1.0.7']);
});
