import type {ExecutionContext} from 'ava';
import {makeHost, type TestHost} from './harness/host.ts';
import {testWith} from './harness/needs.ts';
import {addOutside, type Outside} from './harness/outside.ts';
import {ask, attachMapped, serve, unmap, type Question} from './harness/ports.ts';

const test = testWith('root', 'apt');

const web = {hostPort: 8080, containerPort: 80, protocol: 'tcp'} as const;
const names = {hostPort: 5353, containerPort: 53, protocol: 'udp'} as const;
/** The web server and the name server at an address. */
const both = (address: string): Question[] => [
  {address, port: 8080},
  {address, port: 5353, protocol: 'udp'},
];

/** A host, and beyond it a network with a route to the containers. */
async function prepare(t: ExecutionContext): Promise<{host: TestHost; outside: Outside}> {
  const host = await makeHost(t);
  const outside = await addOutside(host);
  await host.sh(`
    nsenter --net=/run/netns/outside ip route add 10.61.0.0/24 via 192.0.2.1
    nsenter --net=/run/netns/outside ip -6 route add 2001:db8:61::/64 via 2001:db8:2::1`);
  return {host, outside};
}

test('a mapped port is reached from everywhere: outside, the host, 127.0.0.1, its neighbour, itself', async (t) => {
  const {host, outside} = await prepare(t);
  const mapped = await attachMapped(host, 'web', [web, names]);
  await attachMapped(host, 'neighbour', []);
  await serve(host, 'web', 'web', 80, 53);
  const [v4, v6] = outside.hostAddresses;
  const twice = (text: string) => [text, text];
  // From outside the client's own address is seen.
  t.deepEqual(await ask(host, 'outside', ...both(v4), ...both(v6)), [
    ...twice('web sees 192.0.2.2'),
    ...twice('web sees 2001:db8:2::2'),
  ]);
  t.deepEqual(
    await ask(host, undefined, ...both(v4), ...both(v6), ...both('127.0.0.1'), ...both('127.1.2.3')),
    [
      ...twice('web sees 192.0.2.1'),
      ...twice('web sees 2001:db8:2::1'),
      ...twice('web sees 10.61.0.1'),
      ...twice('web sees 10.61.0.1'),
    ],
  );
  // Within the subnet answers would take the short way back, past the host: so the host asks in its own name.
  for (const from of ['web', 'neighbour']) {
    t.deepEqual(await ask(host, from, ...both(v4), ...both(v6), ...both('10.61.0.1')), [
      ...twice('web sees 10.61.0.1'),
      ...twice('web sees 2001:db8:61::1'),
      ...twice('web sees 10.61.0.1'),
    ]);
  }
  // The kernel lets no answer to ::1 in: nothing of the host's is hidden there.
  t.deepEqual(await ask(host, undefined, {address: '::1', port: 8080}), ['ECONNREFUSED']);
  await unmap(host, mapped);
  t.deepEqual(new Set(await ask(host, 'outside', ...both(v4), ...both(v6))), new Set(['ECONNREFUSED']));
});

test('what only passes through the host to the same port elsewhere is left alone', async (t) => {
  const {host} = await prepare(t);
  const elsewhere = await attachMapped(host, 'elsewhere', []);
  await serve(host, 'elsewhere', 'elsewhere', 8080);
  await attachMapped(host, 'web', [web]);
  await serve(host, 'web', 'web', 80);
  const [v4 = '', v6 = ''] = elsewhere.attached.addresses;
  t.deepEqual(await ask(host, 'outside', {address: v4, port: 8080}, {address: v6, port: 8080}), [
    'elsewhere sees 192.0.2.2',
    'elsewhere sees 2001:db8:2::2',
  ]);
});

test('a mapping for one address of the host comes before the one for all', async (t) => {
  const {host} = await prepare(t);
  await host.sh('ip address add 192.0.2.9/24 dev uplink; ip address add 2001:db8:2::9/64 dev uplink nodad');
  await attachMapped(host, 'pod', [
    web,
    {...web, containerPort: 81, hostIP: '192.0.2.9'},
    {...web, containerPort: 81, hostIP: '2001:db8:2::9'},
  ]);
  await attachMapped(host, 'other', [
    {...web, hostPort: 8081, hostIP: '127.0.0.1'},
    {...web, hostPort: 8081, hostIP: '2001:db8:2::9'},
    {...web, hostPort: 8082, hostIP: '0.0.0.0'},
  ]);
  await serve(host, 'pod', 'all', 80);
  await serve(host, 'pod', 'one', 81);
  await serve(host, 'other', 'other', 80);
  const at = (address: string, port = 8080) => ({address, port});
  t.deepEqual(
    await ask(host, 'outside', at('192.0.2.9'), at('2001:db8:2::9'), at('192.0.2.1'), at('2001:db8:2::1')),
    ['one sees 192.0.2.2', 'one sees 2001:db8:2::2', 'all sees 192.0.2.2', 'all sees 2001:db8:2::2'],
  );
  // What marks a port as taken leads nowhere: at other addresses it is the host's own.
  t.deepEqual(
    await ask(host, undefined, at('127.0.0.1', 8081), at('192.0.2.1', 8081), at('2001:db8:2::1', 8081)),
    ['other sees 10.61.0.1', 'ECONNREFUSED', 'ECONNREFUSED'],
  );
  // Over IPv6 with an address of the host: by the container itself, and by the host.
  t.deepEqual(await ask(host, 'other', at('2001:db8:2::9', 8081)), ['other sees 2001:db8:61::1']);
  t.deepEqual(await ask(host, undefined, at('2001:db8:2::9', 8081)), ['other sees 2001:db8:2::9']);
  // 0.0.0.0 is every address of IPv4.
  t.deepEqual(await ask(host, 'outside', at('192.0.2.1', 8082), at('2001:db8:2::1', 8082)), [
    'other sees 192.0.2.2',
    'ECONNREFUSED',
  ]);
});

test('masqAll hides every client, snat false none', async (t) => {
  const {host, outside} = await prepare(t);
  await attachMapped(host, 'hidden', [web], {portmap: {masqAll: true}});
  await attachMapped(host, 'open', [{...web, hostPort: 8081}], {
    portmap: {snat: false},
    bridge: {ipMasq: false},
  });
  await serve(host, 'hidden', 'hidden', 80);
  await serve(host, 'open', 'open', 80);
  const at = (port: number) => outside.hostAddresses.map((address) => ({address, port}));
  t.deepEqual(await ask(host, 'outside', ...at(8080), ...at(8081)), [
    'hidden sees 10.61.0.1',
    'hidden sees 2001:db8:61::1',
    'open sees 192.0.2.2',
    'open sees 2001:db8:2::2',
  ]);
});

test('conditions decide who gets in', async (t) => {
  const {host, outside} = await prepare(t);
  await host.sh('nsenter --net=/run/netns/outside ip address add 192.0.2.3/24 dev eth0');
  await attachMapped(host, 'web', [web], {
    portmap: {
      conditionsV4: ['ip saddr { 192.0.2.2, 10.0.0.0/8 }', 'iifname', '!=', 'eth*'],
      conditionsV6: ['ip6', 'saddr', '!=', '2001:db8:2::2'],
    },
  });
  await serve(host, 'web', 'web', 80);
  const [v4, v6] = outside.hostAddresses;
  t.deepEqual(
    await ask(
      host,
      'outside',
      {address: v4, port: 8080, source: '192.0.2.2'},
      {address: v4, port: 8080, source: '192.0.2.3'},
      {address: v6, port: 8080},
    ),
    ['web sees 192.0.2.2', 'ECONNREFUSED', 'ECONNREFUSED'],
  );
});

test("127.0.0.1 stays the host's own: what comes from a link to or from it is dropped", async (t) => {
  const {host} = await prepare(t);
  // The host's own service, on 127.0.0.1 only by its firewall or its socket.
  const server = `require('net').createServer((s) => s.end('secret')).listen(9999, '127.0.0.1', () => console.log('up'))`;
  const child = host.start([process.execPath, '-e', server]);
  await new Promise((resolve) => child.stdout?.once('data', resolve));
  await host.sh(`
    ip link add cni0 type bridge
    echo 1 > /proc/sys/net/ipv4/conf/cni0/route_localnet`);
  await attachMapped(host, 'web', []);
  await host.sh(`
    nsenter --net=/run/netns/web sh -c '
      ip address del 127.0.0.1/8 dev lo
      echo 1 > /proc/sys/net/ipv4/conf/eth0/route_localnet
      ip route add 127.0.0.1/32 via 10.61.0.1'`);
  const intrusion = {address: '127.0.0.1', port: 9999, source: '10.61.0.2'};
  t.deepEqual(await ask(host, 'web', intrusion), ['secret'], 'with route_localnet alone it gets in');
  await attachMapped(host, 'other', [web]);
  t.deepEqual(await ask(host, 'web', intrusion), ['ETIMEDOUT']);
  await serve(host, 'other', 'other', 80);
  t.deepEqual(await ask(host, undefined, {address: '127.0.0.1', port: 8080}), ['other sees 10.61.0.1']);
});
