import {setTimeout} from 'node:timers/promises';
import {formatIp, parseIp} from '../lib/ip/address.ts';
import {formatCidr, parseCidr} from '../lib/ip/cidr.ts';
import {addAddress, listAddresses, removeAddress} from '../lib/netlink/route/address.ts';
import {addLink, getLink} from '../lib/netlink/route/link.ts';
import {
  addNeighbour,
  ensureNeighbour,
  listNeighbours,
  neighbourFlag,
  removeNeighbour,
} from '../lib/netlink/route/neighbour.ts';
import {addRoute, getRoute, listRoutes, removeRoute, type RouteSpec} from '../lib/netlink/route/route.ts';
import {addRule, listRules, removeRule} from '../lib/netlink/route/rule.ts';
import {makeNamespace, type TestNamespace} from './harness/namespace.ts';
import {testWith} from './harness/needs.ts';

const test = testWith('root');
const cidr = (text: string) => parseCidr(text)!;
const ip = (text: string) => parseIp(text)!;

async function addBridge({rt}: TestNamespace): Promise<{ifindex: number}> {
  await addLink(rt, {name: 'br0', up: true, info: {kind: 'bridge'}});
  const {ifindex} = await getLink(rt, {name: 'br0'});
  return {ifindex};
}

test('addresses of both families', async (t) => {
  const namespace = await makeNamespace(t);
  const {rt, show} = namespace;
  const br0 = await addBridge(namespace);
  await Promise.all([
    addAddress(rt, {...cidr('10.1.2.3/24'), ...br0}),
    addAddress(rt, {...cidr('10.1.3.0/31'), ...br0}),
    addAddress(rt, {...cidr('fd00:1::3/64'), ...br0, noDad: true}),
    addAddress(rt, {...cidr('fd00:2::3/64'), ...br0}),
  ]);
  await t.throwsAsync(addAddress(rt, {...cidr('10.1.2.3/24'), ...br0}), {code: 'EEXIST'});
  // At once: an address is tentative for a second only.
  const listed = new Map((await listAddresses(rt, br0)).map((each) => [formatCidr(each), each]));
  const [shown] = await show('ip', '-4', 'addr', 'show', 'br0');
  t.deepEqual(
    (shown!['addr_info'] as {local: string; broadcast?: string}[]).map((each) => [
      each.local,
      each.broadcast,
    ]),
    [
      ['10.1.2.3', '10.1.2.255'],
      ['10.1.3.0', undefined],
    ],
  );
  t.like(listed.get('10.1.2.3/24'), {tentative: false, scope: 0});
  t.false(listed.get('fd00:1::3/64')!.tentative);
  t.true(listed.get('fd00:2::3/64')!.tentative);
  t.is(listed.size, 5, 'the link-local address is the fifth');
  t.is((await listAddresses(rt, {...br0, family: 4})).length, 2);
  t.is((await listAddresses(rt, {ifindex: 1})).length, 0);
  t.true(await removeAddress(rt, {...cidr('10.1.2.3/24'), ...br0}));
  t.false(await removeAddress(rt, {...cidr('10.1.2.3/24'), ...br0}));
  t.false(await removeAddress(rt, {...cidr('10.1.2.3/24'), ifindex: 4711}));
});

test('routes with everything', async (t) => {
  const namespace = await makeNamespace(t);
  const {rt} = namespace;
  const br0 = await addBridge(namespace);
  await addAddress(rt, {...cidr('10.1.2.3/24'), ...br0});
  await addAddress(rt, {...cidr('fd00:1::3/64'), ...br0, noDad: true});
  const hop = (dst: string, gateway: string): RouteSpec => ({dst: cidr(dst), gateway: ip(gateway), ...br0});
  const routes: RouteSpec[] = [
    {...hop('0.0.0.0/0', '10.1.2.1'), priority: 77, src: ip('10.1.2.3'), mtu: 1400, advmss: 1360},
    {...hop('10.5.0.0/16', '10.1.2.1'), table: 1000},
    {dst: cidr('10.6.0.0/16'), ...br0, scope: 253},
    {...hop('10.7.0.1/32', '192.0.2.1'), onlink: true},
    {...hop('::/0', 'fd00:1::1'), mtu: 1300},
    {
      dst: cidr('10.8.0.0/16'),
      multipath: [
        {gateway: ip('10.1.2.7'), ...br0, weight: 3},
        {gateway: ip('10.1.2.8'), ...br0},
      ],
    },
  ];
  await Promise.all(routes.map((route) => addRoute(rt, route)));
  const listed = await listRoutes(rt, {table: 0});
  const find = (dst: string) => listed.find((route) => formatCidr(route.dst) === dst && route.type === 1)!;
  t.like(find('0.0.0.0/0'), {priority: 77, mtu: 1400, advmss: 1360, table: 254, protocol: 3});
  t.is(formatIp(find('0.0.0.0/0').src!), '10.1.2.3');
  t.like(find('10.5.0.0/16'), {table: 1000});
  t.like(find('10.6.0.0/16'), {scope: 253, gateway: undefined});
  t.true(find('10.7.0.1/32').onlink);
  t.like(find('::/0'), {mtu: 1300, priority: 1024});
  t.is(find('10.8.0.0/16').multipath!.length, 2);
  t.deepEqual(
    (await listRoutes(rt, {table: 1000})).map(({dst}) => formatCidr(dst)),
    ['10.5.0.0/16'],
  );
  t.is((await listRoutes(rt, {ifindex: 1})).length, 0);
  t.true((await listRoutes(rt, br0)).length >= 5);

  t.is(formatIp((await getRoute(rt, {dst: ip('192.0.2.77')})).gateway!), '10.1.2.1');
  t.is(formatIp((await getRoute(rt, {dst: ip('2001:db8::77')})).gateway!), 'fd00:1::1');
  t.like(await getRoute(rt, {dst: ip('10.1.2.3')}), {type: 2});
  // The kernel makes an IPv6 address's own route a moment later.
  let local = await getRoute(rt, {dst: ip('fd00:1::3')});
  for (let i = 0; i < 100 && local.type !== 2; i++) {
    await setTimeout(20);
    local = await getRoute(rt, {dst: ip('fd00:1::3')});
  }
  t.is(local.type, 2);
  for (const route of routes) t.true(await removeRoute(rt, route), formatCidr(route.dst));
  for (const route of routes) t.false(await removeRoute(rt, route), formatCidr(route.dst));
  await t.throwsAsync(getRoute(rt, {dst: ip('192.0.2.77')}), {
    message: 'get route to 192.0.2.77: ENETUNREACH (network is unreachable)',
  });
});

test('a route that is there already', async (t) => {
  const namespace = await makeNamespace(t);
  const {rt} = namespace;
  const br0 = await addBridge(namespace);
  await addAddress(rt, {...cidr('10.1.2.3/24'), ...br0});
  const via = (gateway: string) => ({dst: cidr('10.5.0.0/16'), gateway: ip(gateway), ...br0});
  await addRoute(rt, via('10.1.2.1'));
  await t.throwsAsync(addRoute(rt, via('10.1.2.2')), {code: 'EEXIST'});
  await t.throwsAsync(addRoute(rt, via('10.1.2.1'), {mode: 'prepend'}), {code: 'EEXIST'});
  await addRoute(rt, via('10.1.2.2'), {mode: 'prepend'});
  await addRoute(rt, via('10.1.2.9'), {mode: 'replace'});
  const gateways = (await listRoutes(rt, br0))
    .filter((route) => formatCidr(route.dst) === '10.5.0.0/16')
    .map((route) => formatIp(route.gateway!));
  t.deepEqual(gateways, ['10.1.2.9', '10.1.2.1']);
  await t.throwsAsync(addRoute(rt, via('203.0.113.1')), {
    message: /^add route 10\.5\.0\.0\/16 via 203\.0\.113\.1: E(EXIST|NETUNREACH) \(.*\)$/,
  });
  await t.throwsAsync(addRoute(rt, {...via('203.0.113.1'), dst: cidr('10.9.0.0/16')}), {
    message: 'add route 10.9.0.0/16 via 203.0.113.1: ENETUNREACH (Nexthop has invalid gateway)',
  });
});

test('neighbours and forwarding entries', async (t) => {
  const namespace = await makeNamespace(t);
  const {rt} = namespace;
  const br0 = await addBridge(namespace);
  const entry = {...br0, ip: ip('10.1.2.9'), lladdr: '02:00:00:00:00:99'};
  await addNeighbour(rt, entry);
  await t.throwsAsync(addNeighbour(rt, entry), {code: 'EEXIST'});
  await ensureNeighbour(rt, {...entry, lladdr: '02:00:00:00:00:98'});
  const found = (await listNeighbours(rt, br0)).filter((each) => each.ip && formatIp(each.ip) === '10.1.2.9');
  t.is(found.length, 1);
  t.like(found[0], {lladdr: '02:00:00:00:00:98', state: 0x80});
  t.true(await removeNeighbour(rt, entry));
  t.false(await removeNeighbour(rt, entry));

  await addLink(rt, {name: 'a', master: br0.ifindex, info: {kind: 'veth', data: {peer: {name: 'b'}}}});
  const a = await getLink(rt, {name: 'a'});
  const forwarding = {
    ifindex: a.ifindex,
    bridge: true,
    lladdr: '02:00:00:00:00:77',
    flags: neighbourFlag.master,
  };
  await addNeighbour(rt, forwarding);
  const table = await listNeighbours(rt, {family: 'bridge'});
  t.like(
    table.find((each) => each.lladdr === forwarding.lladdr),
    {ifindex: a.ifindex, bridge: true},
  );
  t.true(await removeNeighbour(rt, forwarding));
});

test('rules', async (t) => {
  const {rt} = await makeNamespace(t);
  const rule = {family: 4, src: cidr('10.1.2.0/24'), iif: 'lo', table: 1000, priority: 500} as const;
  await addRule(rt, rule);
  await addRule(rt, {family: 6, dst: cidr('fd00::/8'), mark: 0x10, markMask: 0xff, table: 100});
  await t.throwsAsync(addRule(rt, rule), {code: 'EEXIST'});
  const listed = await listRules(rt, {family: 4});
  t.like(
    listed.find((each) => each.table === 1000),
    {priority: 500, iif: 'lo'},
  );
  t.like(
    (await listRules(rt, {family: 6})).find((each) => each.table === 100),
    {mark: 0x10, markMask: 0xff},
  );
  t.true(await removeRule(rt, rule));
  t.false(await removeRule(rt, rule));
});
