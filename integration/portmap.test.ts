import {readFile} from 'node:fs/promises';
import path from 'node:path';
import type {DriverCall, DriverOutcome} from './in-process/portmap-driver.ts';
import {makeHost, type TestHost} from './harness/host.ts';
import {testWith} from './harness/needs.ts';
import {repository} from './harness/paths.ts';
import {callPlugin, tryPlugin} from './harness/plugin.ts';
import {ask, attachMapped, checkMapped, portmapConf, serve, unmap} from './harness/ports.ts';

const test = testWith('root', 'apt');

const web = {hostPort: 8080, containerPort: 80, protocol: 'tcp'} as const;
const ruleset = async (host: TestHost) => (await host.run(['nft', 'list', 'ruleset'])).stdout;
/** The elements of mappings, one for each family, kind and port; short. */
const elements = async (host: TestHost) =>
  [
    ...(await ruleset(host)).matchAll(
      /[\w:.]+ \. \d+ comment "[^"]*id: (\w*)" : (?:jump|goto) portmap-(?:to|if)\S+/g,
    ),
  ].map(([text, id]) => `${text.split(' comment')[0]} ${id}`);

const driver = `${repository}/integration/in-process/portmap-driver.ts`;
async function drive(host: TestHost, ...calls: DriverCall[]): Promise<DriverOutcome[]> {
  const {stdout} = await host.run([process.execPath, '--no-warnings', driver], {
    stdin: JSON.stringify(calls),
    timeoutMs: 60_000,
  });
  return JSON.parse(stdout) as DriverOutcome[];
}

/** A previous result without a network behind it: the driver's containers have no interface. */
const resultOf = (last: number) => ({
  cniVersion: '1.0.0',
  interfaces: [{name: 'cni0'}, {name: 'eth0', sandbox: '/run/netns/none'}],
  ips: [
    {address: `10.61.${last >> 8}.${last & 255}/16`, interface: 1},
    {address: `2001:db8:61::${last.toString(16)}/64`, interface: 1},
  ],
});

test('the whole ruleset of a container with every kind of mapping', async (t) => {
  const host = await makeHost(t);
  const mapped = await attachMapped(
    host,
    'web',
    [
      web,
      {...web, hostPort: 5353, protocol: 'udp', hostIP: '127.0.0.1'},
      {...web, hostPort: 8443, hostIP: '2001:db8::1'},
    ],
    {
      bridge: {ipMasq: false},
      portmap: {conditionsV6: ['ip6', 'saddr', '{', '2001:db8::/32,', 'fd00::/8', '}']},
    },
  );
  const golden = path.join(import.meta.dirname, 'golden/portmap.nft');
  const text = await ruleset(host);
  if (process.env['WEFT_UPDATE_GOLDEN']) await import('node:fs').then((fs) => fs.writeFileSync(golden, text));
  t.is(text, await readFile(golden, 'utf8'));
  // What nft lists it can read again.
  await host.sh('nft list ruleset > /run/ruleset; nft flush ruleset; nft -f /run/ruleset');
  t.is(await ruleset(host), text);
  const {code, stdout} = await checkMapped(host, mapped);
  t.is(code, 0, stdout);
  await unmap(host, mapped);
  t.deepEqual(await elements(host), []);
  t.notRegex(await ruleset(host), /id: web/);
});

test('without mappings an ADD opens no socket, and a DEL makes nothing', async (t) => {
  const host = await makeHost(t);
  const conf = {...portmapConf('ports', []), prevResult: resultOf(2)};
  const [add, del] = await drive(
    host,
    {command: 'ADD', conf, containerId: 'a'},
    {command: 'DEL', conf, containerId: 'a'},
  );
  t.deepEqual([add?.code, add?.requests], [0, []]);
  t.is((JSON.parse(add?.stdout ?? '') as {ips: unknown[]}).ips.length, 2);
  t.is(del?.code, 0);
  t.true((del?.requests.length ?? 99) <= 8, String(del?.requests));
  t.is(await ruleset(host), '');
});

test('the cost of a call does not grow: at 2,000 mappings as at the first', async (t) => {
  const host = await makeHost(t);
  await host.sh('ip link add cni0 type bridge; ip link set cni0 up; ip address add 10.61.0.1/16 dev cni0');
  const conf = (last: number, ports: readonly number[]) => ({
    ...portmapConf(
      'ports',
      ports.map((hostPort) => ({hostPort, containerPort: 80, protocol: 'tcp'})),
    ),
    prevResult: resultOf(last),
  });
  const life = (last: number, port: number): DriverCall[] => [
    {command: 'ADD', conf: conf(last, [port]), containerId: `c${last}`},
    {command: 'DEL', conf: conf(last, [port]), containerId: `c${last}`},
    {command: 'DEL', conf: {...conf(last, []), prevResult: undefined}, containerId: `c${last}`},
  ];
  const warm = await drive(host, ...life(2, 8080), ...life(3, 8081));
  const many = Array.from({length: 1000}, (_, i) => 20_000 + i);
  const filled = await drive(
    host,
    {command: 'ADD', conf: conf(10, many), containerId: 'many'},
    ...life(4, 8082),
    {command: 'DEL', conf: {...conf(10, []), prevResult: undefined}, containerId: 'many'},
  );
  for (const {code, stdout} of [...warm, ...filled]) t.is(code, 0, stdout);
  const counts = (outcomes: readonly DriverOutcome[]) => outcomes.map(({requests}) => requests.length);
  t.deepEqual(counts(filled.slice(1, 4)), counts(warm.slice(3, 6)));
  const [add, del, again] = filled.slice(1, 4);
  // Where to, by what name; one transaction; nothing to forget of TCP.
  t.is(add?.requests.length, 3, add?.requests.join('\n'));
  t.is(add?.requests.filter((what) => what.startsWith('nftables transaction')).length, 1);
  t.log(
    `ADD ${add?.requests.length}, DEL ${del?.requests.length}, DEL of nothing ${again?.requests.length} requests`,
  );
  t.deepEqual(await elements(host), []);
});

test('DEL removes what its configuration does not tell of any more', async (t) => {
  const host = await makeHost(t);
  const one = await attachMapped(host, 'one', [web, {...web, hostPort: 8081, hostIP: '127.0.0.1'}]);
  const two = await attachMapped(host, 'two', [{...web, hostPort: 8082}]);
  t.is((await elements(host)).length, 5);
  // Neither runtimeConfig nor prevResult.
  await callPlugin(host, {
    ...one.call,
    conf: portmapConf('ports', []),
    prevResult: undefined,
    command: 'DEL',
  });
  t.deepEqual(await elements(host), ['tcp . 8082 two', 'tcp . 8082 two']);
  // A part of it, of which some makes no sense.
  const broken = {
    ...portmapConf('ports', []),
    runtimeConfig: {portMappings: [{hostPort: 'x'}, 7, {hostPort: 9}]},
  };
  await callPlugin(host, {...two.call, conf: broken, command: 'DEL'});
  t.deepEqual(await elements(host), []);
  await callPlugin(host, {...two.call, command: 'DEL'});
});

test('a port that another container has is refused, naming it, and nothing of the ADD stays', async (t) => {
  const host = await makeHost(t);
  const one = await attachMapped(host, 'one', [web]);
  const before = await ruleset(host);
  await attachMapped(host, 'two', []);
  const conf = portmapConf('ports', [{...web, hostPort: 9090}, web]);
  const two = {conf, containerId: 'two', netns: '/run/netns/two', prevResult: twoResult()};
  const {code, reply} = await tryPlugin(host, {...two, command: 'ADD'});
  t.is(code, 1);
  t.is(reply?.msg, 'host port 8080/tcp is already mapped to container "one" of network "ports" (eth0)');
  t.regex(
    reply?.details ?? '',
    /choose another host port.*nft "delete element inet weft portmap-ports4 \{ 6 \. 8080 \}"/,
  );
  t.deepEqual(await elements(host), ['tcp . 8080 one', 'tcp . 8080 one']);
  t.is((await ruleset(host)).replaceAll(/.*id: two.*\n/g, '').length > 0 && before.includes('id: one'), true);
  // Another protocol or address of the host is another port.
  await callPlugin(host, {...two, conf: portmapConf('ports', [{...web, protocol: 'udp'}]), command: 'ADD'});
  await unmap(host, one);
  await callPlugin(host, {...two, command: 'ADD'});
  t.deepEqual(
    (await elements(host)).filter((each) => each.startsWith('tcp . 8080')),
    ['tcp . 8080 two', 'tcp . 8080 two'],
  );
});

const twoResult = () => ({
  cniVersion: '1.0.0',
  interfaces: [{name: 'cni0'}, {name: 'eth0', sandbox: '/run/netns/two'}],
  ips: [
    {address: '10.61.0.99/24', interface: 1},
    {address: '2001:db8:61::99/64', interface: 1},
  ],
});

test('a port of a container that is gone is taken over: its interface is not there, or its address is ours', async (t) => {
  const host = await makeHost(t);
  const one = await attachMapped(host, 'one', [web]);
  await host.sh(`ip link del ${one.attached.port}`);
  await attachMapped(host, 'two', [web]);
  t.deepEqual(await elements(host), ['tcp . 8080 two', 'tcp . 8080 two']);
  // podman network reload: the address stays, the runtime forgot the rest.
  const three = {conf: portmapConf('ports', [web]), containerId: 'three', netns: '/run/netns/two'};
  const prevResult = {...twoResult(), ips: [{address: '10.61.0.3/24', interface: 1}]};
  await callPlugin(host, {...three, prevResult, command: 'ADD'});
  t.deepEqual(await elements(host), ['tcp . 8080 three', 'tcp . 8080 two']);
});

test('ADD again changes nothing, DEL and ADD with the port open neither', async (t) => {
  const host = await makeHost(t);
  const mapped = await attachMapped(host, 'web', [web]);
  const before = await ruleset(host);
  await callPlugin(host, {...mapped.call, command: 'ADD'});
  t.is(await ruleset(host), before);
  await unmap(host, mapped);
  await callPlugin(host, {...mapped.call, command: 'ADD'});
  t.is(await ruleset(host), before);
});

test('CHECK tells what was removed or changed', async (t) => {
  const host = await makeHost(t);
  const mapped = await attachMapped(host, 'web', [web]);
  const checked = async (script: string) => {
    await host.sh(script);
    const {reply} = await checkMapped(host, mapped);
    await unmap(host, mapped);
    await host.sh('nft flush ruleset');
    await callPlugin(host, {...mapped.call, command: 'ADD'});
    return reply?.msg ?? '';
  };
  t.is((await checkMapped(host, mapped)).code, 0);
  t.regex(
    await checked('nft flush ruleset'),
    /port 8080\/tcp is not forwarded: map inet weft portmap-ports4 lacks it/,
  );
  t.regex(
    await checked('nft flush chain inet weft portmap-local'),
    /^chain inet weft portmap-local is missing/,
  );
  t.regex(
    await checked('nft delete chain inet weft portmap-martians'),
    /^chain inet weft portmap-martians is missing/,
  );
  t.regex(
    await checked('nft delete element inet weft portmap-port-targets4 { tcp . 8080 }'),
    /^port 8080\/tcp is not forwarded: map inet weft portmap-port-targets4 lacks it$/,
  );
  t.regex(
    await checked(`nft 'delete element inet weft portmap-port-targets4 { tcp . 8080 }
      add element inet weft portmap-port-targets4 { tcp . 8080 comment "x" : 10.0.0.1 . 1 }'`),
    /belongs to another attachment in map inet weft portmap-port-targets4: "x"/,
  );
  t.regex(
    await checked('echo 0 > /proc/sys/net/ipv4/conf/cni0/route_localnet'),
    /127\.0\.0\.1 does not reach the container: net\.ipv4\.conf\.cni0\.route_localnet is not 1/,
  );
  t.is((await checkMapped(host, mapped)).code, 0);
});

test('GC removes the mappings of containers that are gone, in its own network', async (t) => {
  const host = await makeHost(t);
  await attachMapped(host, 'kept', [web]);
  await attachMapped(host, 'stale', [{...web, hostPort: 8081}], {
    portmap: {masqAll: true, conditionsV4: ['ip saddr 10.0.0.0/8']},
  });
  const gc = (attachments: readonly {containerID: string; ifname: string}[], name = 'ports') =>
    callPlugin(host, {
      command: 'GC',
      conf: {...portmapConf(name, []), cniVersion: '1.1.0'},
      attachments,
    });
  await gc([], 'other');
  t.is((await elements(host)).length, 4);
  await gc([{containerID: 'kept', ifname: 'eth0'}]);
  t.deepEqual(await elements(host), ['tcp . 8080 kept', 'tcp . 8080 kept']);
  t.notRegex(await ruleset(host), /portmap-(to-\S*masqueraded|if-)|portmap-owners[^}]*stale/);
  await host.sh('ip link del cni0');
  await gc([]);
  t.deepEqual(await elements(host), []);
  const left = (await ruleset(host)).split('\n').filter((line) => !line.includes('masq-'));
  t.notRegex(left.join('\n'), /portmap-to|"cni0"|id: (kept|stale)/);
});

test('a process that listens on the port is a warning, once', async (t) => {
  const host = await makeHost(t);
  const listen = `require('net').createServer().listen(8080, '::', () => console.log('up'));
    require('dgram').createSocket('udp4').bind(5353)`;
  const child = host.start([process.execPath, '-e', listen]);
  await new Promise((resolve) => child.stdout?.once('data', resolve));
  const mapped = await attachMapped(host, 'web', [{...web, hostPort: 9000}]);
  const names = {hostPort: 5353, containerPort: 53, protocol: 'udp'};
  const conf = portmapConf('ports', [web, names, {...web, hostPort: 8081}]);
  await unmap(host, mapped);
  const {code, stderr} = await tryPlugin(host, {...mapped.call, conf, command: 'ADD'});
  t.is(code, 0);
  t.is(
    stderr,
    'portmap: processes of the host listen on port 8080/tcp, port 5353/udp; what is sent there goes to container web now\n',
  );
  await serve(host, 'web', 'web', 80);
  t.deepEqual(await ask(host, undefined, {address: '127.0.0.1', port: 8080}), ['web sees 10.61.0.1']);
});

test('whichever request of an ADD fails, the ADD takes back what it did', async (t) => {
  const host = await makeHost(t);
  await host.sh('ip link add cni0 type bridge; ip link set cni0 up; ip address add 10.61.0.1/16 dev cni0');
  const conf = {...portmapConf('ports', [web, {...web, protocol: 'udp'}]), prevResult: resultOf(2)};
  const most = 20;
  const calls = (['request', 'answer'] as const).flatMap((loss) =>
    Array.from({length: most}, (_, failing): DriverCall => {
      const scripts = {before: 'nft flush ruleset', after: 'nft list ruleset'};
      return {command: 'ADD', conf, containerId: 'c', failing, loss, ...scripts};
    }),
  );
  let failed = 0;
  for (const [i, {code, stdout, requests, after}] of (await drive(host, ...calls)).entries()) {
    const {failing = 0, loss} = calls[i]!;
    if (failing === most - 1) t.true(requests.length <= failing, 'all requests were tried');
    // Looking for UDP connections and for listening processes may fail.
    if (code === 0) continue;
    failed++;
    t.regex(stdout, /injected/);
    t.notRegex(after, /id: c/, `${loss} ${failing} lost: ${requests[failing]}`);
  }
  t.true(failed >= 8, String(failed));
});

test('many at once on a host that has nothing yet: all succeed, and the chains are there once', async (t) => {
  const host = await makeHost(t);
  await host.sh('ip link add cni0 type bridge; ip link set cni0 up; ip address add 10.61.0.1/16 dev cni0');
  const processes = (command: string) =>
    Array.from({length: 6}, (_, p) =>
      drive(
        host,
        ...Array.from({length: 4}, (_, c): DriverCall => {
          const i = 4 * p + c;
          const ports = Array.from({length: 5}, (_, j) => ({...web, hostPort: 1000 + 10 * i + j}));
          const conf = {...portmapConf('ports', ports), prevResult: resultOf(10 + i)};
          return {command, conf, containerId: `c${i}`};
        }),
      ),
    );
  for (const {code, stdout} of (await Promise.all(processes('ADD'))).flat()) t.is(code, 0, stdout);
  t.is((await elements(host)).length, 240);
  const text = await ruleset(host);
  t.is(text.match(/vmap @portmap/g)?.length, 4);
  t.is(text.match(/goto portmap-local/g)?.length, 2);
  t.is(text.match(/dnat ip6? to/g)?.length, 2);
  const deleted = (await Promise.all(processes('DEL'))).flat();
  for (const {code, stdout} of deleted) t.is(code, 0, stdout);
  t.log(`slowest DEL ${Math.max(...deleted.map(({durationMs}) => durationMs)).toFixed(0)} ms`);
  t.deepEqual(await elements(host), []);
});

test('STATUS says whether ports can be mapped', async (t) => {
  const host = await makeHost(t);
  const call = {command: 'STATUS', conf: {...portmapConf('ports', []), cniVersion: '1.1.0'}} as const;
  t.is((await tryPlugin(host, call)).code, 0);
  const under = ['setpriv', '--inh-caps=-all', '--bounding-set=-all'];
  const {code, reply} = await tryPlugin(host, {...call, under});
  t.is(code, 1);
  t.is(reply?.code, 50);
  t.regex(reply?.details ?? '', /CAP_NET_ADMIN/);
});
