import type {ExecutionContext} from 'ava';
import {ensurePackages} from './harness/debian.ts';
import {makeHost, type TestHost} from './harness/host.ts';
import {testWith} from './harness/needs.ts';
import {callPlugin, referenceDir, tryPlugin, type PluginCall, type Reply} from './harness/plugin.ts';

const test = testWith('root', 'apt');

test.before(async () => {
  await ensurePackages('reference');
});

const conf = {cniVersion: '1.0.0', name: 'routed', type: 'sbr'};

/**
 * A container with two networks: eth0 has the default routes, by router0, and net1, which router1 is behind. Each router
 * is also something farther away: 192.0.2.0 and 2001:db8:9::a of the first, 192.0.2.1 and 2001:db8:9::b of the second.
 */
async function makeContainer(t: ExecutionContext) {
  const host = await makeHost(t);
  const [netns] = await Promise.all(['pod', 'router0', 'router1'].map((name) => host.addNetns(name)));
  await host.sh(`
    connect() { # <router> <link> <number> <far address> <far address of IPv6>
      ip -n pod link add $2 type veth peer name eth0 netns $1
      nsenter --net=/run/netns/pod sh -c "echo 0 > /proc/sys/net/ipv4/conf/$2/rp_filter"
      nsenter --net=/run/netns/$1 sh -c 'echo 1 > /proc/sys/net/ipv4/ip_forward; echo 1 > /proc/sys/net/ipv6/conf/all/forwarding'
      ip -n $1 address add 10.$3.0.1/24 dev eth0
      ip -n $1 address add fd00:$3::1/64 dev eth0 nodad
      ip -n $1 address add $4/32 dev lo
      ip -n $1 address add $5/128 dev lo
      ip -n $1 link set eth0 up
      ip -n pod address add 10.$3.0.7/24 dev $2
      ip -n pod address add fd00:$3::7/64 dev $2 nodad
      ip -n pod link set $2 up
    }
    nsenter --net=/run/netns/pod sh -c 'echo 0 > /proc/sys/net/ipv4/conf/all/rp_filter'
    connect router0 eth0 1 192.0.2.10 2001:db8:9::a
    connect router1 net1 2 192.0.2.11 2001:db8:9::b
    ip -n pod route add default via 10.1.0.1
    ip -n pod -6 route add default via fd00:1::1
    ip -n pod route add 198.51.100.0/24 via 10.2.0.1 dev net1
  `);
  const previous = {
    cniVersion: '1.0.0',
    interfaces: [{name: 'net1', mac: '02:00:00:00:00:02', sandbox: netns!}],
    ips: [
      {address: '10.2.0.7/24', gateway: '10.2.0.1', interface: 0},
      {address: 'fd00:2::7/64', gateway: 'fd00:2::1', interface: 0},
    ],
    routes: [{dst: '198.51.100.0/24', gw: '10.2.0.1'}],
  };
  return {host, call: {conf, netns: netns!, containerId: 'one', ifName: 'net1'}, previous};
}

async function show(host: TestHost, ...argv: string[]): Promise<string[]> {
  const {stdout} = await host.run(['ip', '-n', 'pod', ...argv]);
  return (
    stdout
      .trim()
      .split('\n')
      .map((line) =>
        line
          .replaceAll(/( pref medium|linkdown)/g, '')
          .trim()
          .split(/\s+/)
          .join(' '),
      )
      // What IPv6 makes itself on each link, a moment after it came up.
      .filter((line) => line !== '' && !/fe80:|ff00::/.test(line))
      .toSorted()
  );
}

const reaches = async (host: TestHost, source: string, to: string) => {
  const argv = host.inNetns('pod', ['ping', '-c', '1', '-W', '1', '-I', source, to]);
  return / 1 received/.test((await host.run(argv, {mayFail: true})).stdout);
};

/** Everything that routes in the container, in words. */
const everything = async (host: TestHost) =>
  Promise.all([
    show(host, 'rule'),
    show(host, '-6', 'rule'),
    show(host, 'route', 'show', 'table', 'all'),
    show(host, '-6', 'route', 'show', 'table', 'all'),
  ]);

test('what has an address of the interface as its source goes out by it, over IPv4 and IPv6', async (t) => {
  const {host, call, previous} = await makeContainer(t);
  t.false(await reaches(host, '10.2.0.7', '192.0.2.11'));
  const result = await callPlugin(host, {...call, command: 'ADD', prevResult: previous});
  t.deepEqual(result, previous as never);
  for (const [source, to] of [
    ['10.1.0.7', '192.0.2.10'],
    ['10.2.0.7', '192.0.2.11'],
    ['fd00:1::7', '2001:db8:9::a'],
    ['fd00:2::7', '2001:db8:9::b'],
  ] as const)
    t.true(await reaches(host, source, to), `${source} to ${to}`);
  t.false(await reaches(host, '10.2.0.7', '192.0.2.10'));
  t.deepEqual(await show(host, 'rule'), [
    '0: from all lookup local',
    '32765: from 10.2.0.7 lookup 100',
    '32766: from all lookup main',
    '32767: from all lookup default',
  ]);
  t.deepEqual(await show(host, 'route', 'show', 'table', '100'), [
    '10.2.0.0/24 dev net1 proto kernel scope link src 10.2.0.7',
    '198.51.100.0/24 via 10.2.0.1 dev net1',
    'default via 10.2.0.1 dev net1',
  ]);
  t.deepEqual(await show(host, '-6', 'route', 'show', 'table', '101'), [
    'default via fd00:2::1 dev net1 metric 1024',
    'fd00:2::/64 dev net1 proto kernel metric 256',
  ]);
  t.deepEqual(await show(host, 'route'), [
    '10.1.0.0/24 dev eth0 proto kernel scope link src 10.1.0.7',
    'default via 10.1.0.1 dev eth0',
  ]);
  t.deepEqual(await show(host, '-6', 'route', 'show', 'dev', 'net1'), []);
  await callPlugin(host, {...call, command: 'CHECK', prevResult: result});
  await callPlugin(host, {...call, command: 'DEL', prevResult: result});
  t.is((await show(host, 'rule')).length, 3);
  t.is((await show(host, '-6', 'rule')).length, 2);
  await callPlugin(host, {...call, command: 'DEL', prevResult: result});
});

test('CHECK says what is missing', async (t) => {
  const {host, call, previous} = await makeContainer(t);
  const hinted = {...call, conf: {...conf, addSourceHints: true}};
  await callPlugin(host, {...hinted, command: 'ADD', prevResult: previous});
  await callPlugin(host, {...hinted, command: 'CHECK', prevResult: previous});
  await host.sh(`
    ip -n pod rule del from 10.2.0.7
    ip -n pod -6 route del default table 101
    ip -n pod route del 10.2.0.0/24 dev net1`);
  const {code, reply} = await tryPlugin(host, {...hinted, command: 'CHECK', prevResult: previous});
  t.is(code, 1);
  for (const expected of [
    'rule from 10.2.0.7 lookup a table of its own is missing',
    'default route by fd00:2::1 is missing in table 101, for fd00:2::7',
    'the main table has no route to 10.2.0.0/24 with a source',
  ])
    t.true(reply?.msg?.includes(expected), reply?.msg);
});

test('with addSourceHints neighbours are reached without a source address, too', async (t) => {
  const {host, call, previous} = await makeContainer(t);
  const hinted = {...call, conf: {...conf, addSourceHints: true}};
  await callPlugin(host, {...hinted, command: 'ADD', prevResult: previous});
  t.deepEqual(await show(host, 'route', 'show', 'dev', 'net1'), [
    '10.2.0.0/24 proto kernel scope link src 10.2.0.7',
  ]);
  t.deepEqual(await show(host, '-6', 'route', 'show', 'fd00:2::/64'), [
    'fd00:2::/64 dev net1 src fd00:2::7 metric 256',
  ]);
  for (const to of ['10.2.0.1', 'fd00:2::1']) {
    const {stdout} = await host.run(host.inNetns('pod', ['ping', '-c', '1', '-W', '2', to]));
    t.regex(stdout, / 1 received/);
  }
  t.true(await reaches(host, '10.2.0.7', '192.0.2.11'));
});

test('gateways of the configuration are the way out', async (t) => {
  const {host, call, previous} = await makeContainer(t);
  const ips = previous.ips.map(({address, interface: index}) => ({address, interface: index}));
  const chosen = {
    ...call,
    conf: {...conf, gateways: ['fd00:2::1', '10.2.0.1']},
    prevResult: {...previous, ips},
  };
  await callPlugin(host, {...chosen, command: 'ADD'});
  await callPlugin(host, {...chosen, command: 'CHECK'});
  t.true(await reaches(host, '10.2.0.7', '192.0.2.11'));
  t.true(await reaches(host, 'fd00:2::7', '2001:db8:9::b'));
});

test('with a table only rules are made, and DEL removes only those', async (t) => {
  const {host, call, previous} = await makeContainer(t);
  const [, , routes4, routes6] = await everything(host);
  const tabled = {...call, conf: {...conf, table: 5001}, prevResult: previous};
  await callPlugin(host, {...tabled, command: 'ADD'});
  // As after a lost answer.
  await callPlugin(host, {...tabled, command: 'ADD'});
  await callPlugin(host, {...tabled, command: 'CHECK'});
  t.true((await show(host, 'rule')).includes('32765: from 10.2.0.7 lookup 5001'));
  t.true((await show(host, '-6', 'rule')).includes('32765: from fd00:2::7 lookup 5001'));
  await host.run(['ip', '-n', 'pod', 'rule', 'add', 'from', '10.2.0.7', 'lookup', '7']);
  await callPlugin(host, {...tabled, command: 'DEL'});
  const [rules4, rules6, ...routes] = await everything(host);
  t.deepEqual(routes, [routes4, routes6]);
  t.is(rules4?.length, 4);
  t.is(rules6?.length, 2);
});

test('a second interface takes the next table; two calls at once take two', async (t) => {
  const {host, call, previous} = await makeContainer(t);
  const first = {...previous, interfaces: [{...previous.interfaces[0]!, name: 'eth0'}], routes: []};
  first.ips = [
    {address: '10.1.0.7/24', gateway: '10.1.0.1', interface: 0},
    {address: 'fd00:1::7/64', gateway: 'fd00:1::1', interface: 0},
  ];
  const calls: PluginCall[] = [
    {...call, ifName: 'eth0', command: 'ADD', prevResult: first},
    {...call, command: 'ADD', prevResult: previous},
  ];
  await Promise.all(calls.map((each) => callPlugin(host, each)));
  const tables = [...(await show(host, 'rule')), ...(await show(host, '-6', 'rule'))].flatMap(
    (line) => /lookup (1\d\d)$/.exec(line)?.[1] ?? [],
  );
  t.deepEqual(tables.toSorted(), ['100', '101', '102', '103']);
  for (const each of calls) await callPlugin(host, {...each, command: 'CHECK'});
});

test('a call waits while another one, or the reference, has the lock of the namespace', async (t) => {
  const {host, call, previous} = await makeContainer(t);
  const holder = host.start(['flock', call.netns, 'sh', '-c', 'echo locked; sleep 1.5']);
  await new Promise((resolve) => holder.stdout?.once('data', resolve));
  const {code, durationMs} = await tryPlugin(host, {...call, command: 'ADD', prevResult: previous});
  t.is(code, 0);
  t.true(durationMs > 1000, `${durationMs} ms`);
});

test('an ADD that fails in the middle leaves everything as it was', async (t) => {
  const {host, call, previous} = await makeContainer(t);
  const before = await everything(host);
  const unreachable = {...call, conf: {...conf, gateways: ['10.2.0.1', 'fd00:77::1']}};
  const {code, reply, stderr} = await tryPlugin(host, {...unreachable, command: 'ADD', prevResult: previous});
  t.is(code, 1);
  t.regex(reply?.msg ?? '', /^Failed to add default route to fd00:77::1 in table 101: /);
  t.is(stderr, '');
  t.deepEqual(await everything(host), before);
});

test('errors of ADD', async (t) => {
  const {host, call, previous} = await makeContainer(t);
  const refusals: [Partial<PluginCall>, RegExp][] = [
    [{}, /^This plugin must be called as chained plugin$/],
    [{prevResult: {...previous, ips: []}}, /^No IP addresses supplied on interface: net1$/],
    [
      {prevResult: {...previous, interfaces: [{name: 'net7'}]}, ifName: 'net7'},
      /^Cannot find network interface net7: Link not found/,
    ],
    [
      {prevResult: previous, netns: '/run/netns/gone'},
      /^failed to Statfs "\/run\/netns\/gone": no such file or directory$/,
    ],
  ];
  for (const [change, message] of refusals) {
    const {reply} = await tryPlugin(host, {...call, ...change, command: 'ADD'});
    t.regex(reply?.msg ?? '', message);
  }
  t.is((await host.run(['test', '-e', '/run/netns/gone'], {mayFail: true})).code, 1);
});

test('DEL where the namespace is gone succeeds and leaves no file in its place', async (t) => {
  const {host, call, previous} = await makeContainer(t);
  for (const netns of ['', '/run/netns/gone'])
    await callPlugin(host, {...call, netns, command: 'DEL', prevResult: previous});
  t.is((await host.run(['test', '-e', '/run/netns/gone'], {mayFail: true})).code, 1);
});

test('DEL where the interface is gone removes the rules that the previous result names', async (t) => {
  const {host, call, previous} = await makeContainer(t);
  await callPlugin(host, {...call, command: 'ADD', prevResult: previous});
  await host.run(['ip', '-n', 'pod', 'link', 'del', 'net1']);
  await callPlugin(host, {...call, conf: {...conf, gateways: 7}, command: 'DEL', prevResult: previous});
  t.is((await show(host, 'rule')).length, 3);
  t.is((await show(host, '-6', 'rule')).length, 2);
});

test("makes what the reference makes, and either removes the other's rules", async (t) => {
  const seen: string[][][] = [];
  const [ours, theirs] = [{}, {dir: referenceDir()}];
  for (const [add, del] of [
    [ours, theirs],
    [theirs, ours],
  ]) {
    const {host, call, previous} = await makeContainer(t);
    // It moves the routes of IPv6 into the table of an IPv4 address.
    const four = {...previous, ips: previous.ips.slice(0, 1)};
    const prevResult: Reply = await callPlugin(host, {...call, ...add, command: 'ADD', prevResult: four});
    seen.push(await Promise.all([show(host, 'rule'), show(host, '-4', 'route', 'show', 'table', 'all')]));
    t.true(await reaches(host, '10.2.0.7', '192.0.2.11'));
    await callPlugin(host, {...call, ...del, command: 'CHECK', prevResult});
    await callPlugin(host, {...call, ...del, command: 'DEL', prevResult});
    t.is((await show(host, 'rule')).length, 3);
  }
  t.deepEqual(seen[0], seen[1]);
});

test('GC and STATUS succeed', async (t) => {
  const host = await makeHost(t);
  for (const command of ['GC', 'STATUS'] as const) {
    const {code, stdout} = await tryPlugin(host, {
      conf: {...conf, cniVersion: '1.1.0'},
      command,
      attachments: [],
    });
    t.deepEqual({code, stdout}, {code: 0, stdout: ''});
  }
});
