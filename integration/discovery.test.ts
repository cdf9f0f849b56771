import path from 'node:path';
import {startAgentOn} from './harness/agent.ts';
import {makeHost, type TestHost} from './harness/host.ts';
import {
  askDns,
  attachNamed,
  dataOf,
  fetchByName,
  namedNetwork,
  startDnsServer,
  startPage,
  writeResolvConf,
} from './harness/names.ts';
import {testWith} from './harness/needs.ts';
import {pluginDir} from './harness/paths.ts';

const test = testWith('root');
const conflist = (name: string) => `/etc/cni/net.d/${name}.conflist`;

async function makeNetwork(host: TestHost, name: string, options: Parameters<typeof namedNetwork>[1] = {}) {
  await host.write(conflist(name), namedNetwork(name, options));
}

test('service1 reaches service2 by its name, at once and with nothing else installed', async (t) => {
  const host = await makeHost(t);
  await makeNetwork(host, 'net1');
  await startAgentOn(host);
  for (const name of ['service1', 'service2']) {
    await host.addNetns(name);
    await writeResolvConf(host, name, await attachNamed(host, 'net1', name));
  }
  await startPage(host, 'service2', 8080);
  t.regex(await fetchByName(host, 'service1', 'http://service2:8080/hello'), /^page of service2, asked by /);
  t.regex(
    await fetchByName(host, 'service1', 'http://service2.net1.weft.internal:8080/'),
    /page of service2/,
  );
  await attachNamed(host, 'net1', 'service1', {verb: 'check'});
  await attachNamed(host, 'net1', 'service2', {verb: 'del'});
  const [gone] = await askDns(host, 'service1', [{server: '10.61.0.1', name: 'service2.net1.weft.internal'}]);
  t.is(gone!.rcode, 'NXDOMAIN');
});

test('every question has its answer', async (t) => {
  const host = await makeHost(t);
  await makeNetwork(host, 'net1', {keys: {domainName: 'Example.test', ports: [{name: 'http', port: 8080}]}});
  await startAgentOn(host);
  await host.addNetnses('pod', 2);
  await attachNamed(host, 'net1', 'web', {netns: 'pod-0', capArgs: {aliases: {net1: ['www', 'Api']}}});
  const server = '10.61.0.1';
  await attachNamed(host, 'net1', 'client', {netns: 'pod-1', capArgs: {aliases: ['second']}});
  const ask = async (name: string, type = 'A', more = {}) => {
    const [found] = await askDns(host, 'pod-1', [{server, name, type, ...more}]);
    return found!;
  };
  t.like(await ask('WeB'), {rcode: 'NOERROR', authoritative: true});
  for (const name of ['web', 'web.example.test', 'web.net1', 'www', 'api.example.test']) {
    t.deepEqual(dataOf(await ask(name)), ['10.61.0.2'], name);
  }
  t.deepEqual(dataOf(await ask('second')), ['10.61.0.3']);
  t.deepEqual(dataOf(await ask('web', 'AAAA')), ['fd00:61::2']);
  t.deepEqual(
    (await ask('web')).answers.map(({ttl}) => ttl),
    [0],
  );
  t.deepEqual(dataOf(await ask('2.0.61.10.in-addr.arpa', 'PTR')), ['web.example.test']);
  t.like((await ask('_http._tcp.web', 'SRV')).answers[0]?.data, {port: 8080, target: 'web.example.test'});
  t.like(await ask('web', 'MX'), {rcode: 'NOERROR', answers: [], authority: ['example.test SOA']});
  t.like(await ask('nobody.example.test'), {rcode: 'NXDOMAIN', authority: ['example.test SOA']});
  for (const transport of ['udp', 'tcp']) {
    for (const [server6, type] of [
      ['fd00:61::1', 'A'],
      ['fd00:61::1', 'AAAA'],
    ]) {
      t.is((await ask('web', type, {server: server6, transport})).rcode, 'NOERROR');
    }
  }
  const refused = await askDns(host, undefined, [{server: '127.0.0.1', name: 'web'}]);
  t.not(refused[0]!.rcode, 'NOERROR');
  const [ofHost] = await askDns(host, undefined, [{server, name: 'web'}]);
  t.deepEqual(dataOf(ofHost!), ['10.61.0.2']);
});

test('containers see the names of their own networks alone, and others are asked elsewhere', async (t) => {
  const host = await makeHost(t);
  await makeNetwork(host, 'net1');
  await makeNetwork(host, 'net2', {subnets: ['10.62.0.0/24']});
  await makeNetwork(host, 'closed', {subnets: ['10.63.0.0/24'], keys: {internal: true}});
  await host.addNetns('upstream');
  await host.sh(
    `ip link add outside type veth peer name eth0 netns upstream
     ip addr add 192.0.2.254/24 dev outside; ip link set outside up
     ip -n upstream addr add 192.0.2.53/24 dev eth0; ip -n upstream link set eth0 up`,
  );
  await startDnsServer(host, 'upstream', {'example.org': '203.0.113.7'});
  await host.write('/etc/weft-resolv.conf', 'nameserver 192.0.2.53\n');
  await startAgentOn(host, {config: {names: {resolvConf: '/etc/weft-resolv.conf', upstreamTimeoutMs: 5000}}});
  await host.addNetnses('pod', 4);
  await attachNamed(host, 'net1', 'one', {netns: 'pod-0'});
  await attachNamed(host, 'net2', 'two', {netns: 'pod-1'});
  await attachNamed(host, 'net1', 'both', {netns: 'pod-2'});
  await attachNamed(host, 'net2', 'both', {netns: 'pod-2', ifName: 'eth1'});
  await attachNamed(host, 'closed', 'hidden', {netns: 'pod-3'});
  const rcodes = async (netns: string, server: string, names: readonly string[]) =>
    (
      await askDns(
        host,
        netns,
        names.map((name) => ({server, name})),
      )
    ).map(({rcode}) => rcode);
  t.deepEqual(await rcodes('pod-0', '10.61.0.1', ['one', 'both', 'two.net2.weft.internal', 'two']), [
    'NOERROR',
    'NOERROR',
    'NXDOMAIN',
    'NXDOMAIN',
  ]);
  t.deepEqual(await rcodes('pod-2', '10.61.0.1', ['one', 'two', 'two.net2']), [
    'NOERROR',
    'NOERROR',
    'NOERROR',
  ]);
  t.deepEqual(await rcodes('pod-0', '10.61.0.1', ['example.org', 'example.com']), ['NOERROR', 'NXDOMAIN']);
  t.deepEqual(await rcodes('pod-3', '10.63.0.1', ['hidden', 'example.org']), ['NOERROR', 'NXDOMAIN']);
});

test('a name outlives the agent, and answers again when the next one is there', async (t) => {
  const host = await makeHost(t);
  await makeNetwork(host, 'net1');
  await host.addNetns('web');
  const first = await startAgentOn(host);
  await attachNamed(host, 'net1', 'web');
  await first.stop('KILL');
  const weft = path.join(pluginDir, 'weft');
  const gone = await askDns(host, 'web', [{server: '10.61.0.1', name: 'web'}]);
  t.not(gone[0]!.rcode, 'NOERROR');
  // Without an agent a container still gets its network, and its name when there is one.
  await host.addNetns('later');
  await attachNamed(host, 'net1', 'later');
  await startAgentOn(host, {weft});
  const [web, later] = await askDns(host, 'web', [
    {server: '10.61.0.1', name: 'web'},
    {server: '10.61.0.1', name: 'later'},
  ]);
  t.deepEqual([dataOf(web!), dataOf(later!)], [['10.61.0.2'], ['10.61.0.3']]);
});

test('where port 53 is taken the kernel leads questions to the agent; and intercepted ones wherever they go', async (t) => {
  const host = await makeHost(t);
  await makeNetwork(host, 'net1', {keys: {intercept: true}});
  await host.addNetns('web');
  await startDnsServer(host, 'web', {});
  const taken = host.start([
    process.execPath,
    path.join(import.meta.dirname, 'harness/dns-worker.ts'),
    'serve',
    '{}',
  ]);
  await new Promise<void>((resolve) => taken.stdout?.once('data', () => resolve()));
  await startAgentOn(host);
  await host.addNetns('client');
  await attachNamed(host, 'net1', 'web');
  await attachNamed(host, 'net1', 'client');
  const [direct, elsewhere] = await askDns(host, 'client', [
    {server: '10.61.0.1', name: 'web'},
    {server: '192.0.2.99', name: 'web'},
  ]);
  t.deepEqual([dataOf(direct!), dataOf(elsewhere!)], [['10.61.0.2'], ['10.61.0.2']]);
  t.regex((await host.sh('nft list table inet weft-names')).stdout, /redirect to :\d+/);
});

test('errors name what is wrong, and no agent is an error only where one is required', async (t) => {
  const host = await makeHost(t);
  await makeNetwork(host, 'net1', {keys: {agentRequired: true}});
  await host.addNetns('pod');
  await t.throwsAsync(attachNamed(host, 'net1', 'web', {netns: 'pod'}), {
    message: /no agent takes names at .*agentRequired/s,
  });
  await makeNetwork(host, 'net1');
  await attachNamed(host, 'net1', 'web', {netns: 'pod', verb: 'del'});
  await t.throwsAsync(attachNamed(host, 'net1', 'web', {netns: 'pod', capArgs: {aliases: ['a b']}}), {
    message: /runtimeConfig\.aliases: \\?"a b\\?" is no name/,
  });
  await attachNamed(host, 'net1', 'web', {netns: 'pod', verb: 'del'});
  await attachNamed(host, 'net1', 'web', {netns: 'pod'});
  const {stdout} = await host.run(['find', '/run/weft/discovery', '-type', 'f']);
  t.is(stdout.trim().split('\n').length, 1);
});
