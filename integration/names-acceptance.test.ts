import {startAgentOn} from './harness/agent.ts';
import {makeHost, type TestHost} from './harness/host.ts';
import {askDns, attachNamed, dataOf, namedNetwork, startDnsServer, writeResolvConf} from './harness/names.ts';
import {testWith} from './harness/needs.ts';
import {callPlugin} from './harness/plugin.ts';

const test = testWith('root');
const server = '10.61.0.1';

async function makeNetwork(host: TestHost, name: string, options: Parameters<typeof namedNetwork>[1] = {}) {
  await host.write(`/etc/cni/net.d/${name}.conflist`, namedNetwork(name, options));
}

const lookUp = async (host: TestHost, from: string, name: string, more = {}) =>
  (await askDns(host, from, [{server, name, ...more}]))[0]!;

test('a container that comes back with another address, and one of two with the same name', async (t) => {
  const host = await makeHost(t);
  await makeNetwork(host, 'net1', {subnets: ['10.61.0.0/24']});
  await startAgentOn(host);
  await host.addNetnses('pod', 4);
  await attachNamed(host, 'net1', 'client', {netns: 'pod-0'});
  for (const ip of ['10.61.0.3', '10.61.0.4', '10.61.0.5']) {
    await attachNamed(host, 'net1', 'web', {netns: 'pod-1'});
    // Nothing between the ADD and the question: the name answers when ADD returns, and nobody kept the old answer.
    const found = await lookUp(host, 'pod-0', 'web');
    t.deepEqual(dataOf(found), [ip]);
    t.deepEqual(
      found.answers.map(({ttl}) => ttl),
      [0],
    );
    await attachNamed(host, 'net1', 'web', {netns: 'pod-1', verb: 'del'});
    t.is((await lookUp(host, 'pod-0', 'web.net1.weft.internal')).rcode, 'NXDOMAIN');
  }
  for (const netns of ['pod-1', 'pod-2']) await attachNamed(host, 'net1', 'twin', {netns});
  t.is(dataOf(await lookUp(host, 'pod-0', 'twin')).length, 2);
  await attachNamed(host, 'net1', 'twin', {netns: 'pod-1', verb: 'del'});
  t.deepEqual(dataOf(await lookUp(host, 'pod-0', 'twin')), ['10.61.0.7']);
  // A second DEL is no error; nor does it take the other's name.
  await attachNamed(host, 'net1', 'twin', {netns: 'pod-1', verb: 'del'});
  t.deepEqual(dataOf(await lookUp(host, 'pod-0', 'twin')), ['10.61.0.7']);
  await attachNamed(host, 'net1', 'twin', {netns: 'pod-2', verb: 'check'});
  // A DEL that never came: the file of a container that is gone.
  const {stdout: files} = await host.run(['ls', '/run/weft/discovery/net1']);
  const keep = files
    .trim()
    .split('\n')
    .map((file) => ({containerID: file.split(':')[0]!, ifname: 'eth0'}));
  await host.sh(`cd /run/weft/discovery/net1; cp "$(ls | head -n 1)" lost:eth0.json
    sed -i 's/"containerId":"[^"]*"/"containerId":"lost"/; s/"names":\\["[^"]*"\\]/"names":["lost"]/' lost:eth0.json`);
  t.is(dataOf(await lookUp(host, 'pod-0', 'lost')).length, 1);
  await callPlugin(host, {
    command: 'GC',
    conf: {cniVersion: '1.1.0', name: 'net1', type: 'discovery'},
    attachments: keep,
  });
  t.is((await lookUp(host, 'pod-0', 'lost.net1.weft.internal')).rcode, 'NXDOMAIN');
  t.deepEqual(dataOf(await lookUp(host, 'pod-0', 'twin')), ['10.61.0.7']);
});

test('IPv6 alone, a strict client, and the search domain', async (t) => {
  const host = await makeHost(t);
  await makeNetwork(host, 'six', {subnets: ['fd00:66::/64'], keys: {domainName: 'six.test'}});
  await makeNetwork(host, 'four', {subnets: ['10.61.0.0/24'], keys: {domainName: 'four.test'}});
  await startAgentOn(host);
  await host.addNetnses('pod', 4);
  const at = {server: 'fd00:66::1'};
  await attachNamed(host, 'six', 'web', {netns: 'pod-0'});
  await writeResolvConf(host, 'pod-1', await attachNamed(host, 'six', 'client', {netns: 'pod-1'}));
  t.deepEqual(dataOf(await lookUp(host, 'pod-1', 'web', {...at, type: 'AAAA'})), ['fd00:66::2']);
  t.like(await lookUp(host, 'pod-1', 'web', {...at, type: 'A'}), {rcode: 'NOERROR', answers: []});
  const reverse = `2.${'0.'.repeat(23)}6.6.0.0.0.0.d.f.ip6.arpa`;
  t.deepEqual(dataOf(await lookUp(host, 'pod-1', reverse, {...at, type: 'PTR'})), ['web.six.test']);
  t.deepEqual(dataOf(await lookUp(host, 'pod-1', 'web', {...at, type: 'AAAA', transport: 'tcp'})), [
    'fd00:66::2',
  ]);
  const {stdout: six} = await host.run(['ip', 'netns', 'exec', 'pod-1', 'getent', 'ahostsv6', 'web']);
  t.regex(six, /^fd00:66::2 /);
  await attachNamed(host, 'four', 'web', {netns: 'pod-2'});
  await writeResolvConf(host, 'pod-3', await attachNamed(host, 'four', 'client', {netns: 'pod-3'}));
  // musl asks for A and AAAA at once and takes a denial of either for "no such host".
  for (const name of ['web', 'web.four.test', 'web.four']) {
    t.like(await lookUp(host, 'pod-3', name, {type: 'AAAA'}), {
      rcode: 'NOERROR',
      answers: [],
      authority: ['four.test SOA'],
    });
    t.deepEqual(dataOf(await lookUp(host, 'pod-3', name)), ['10.61.0.2']);
  }
  for (const name of ['web', 'web.four.test', 'WEB']) {
    const {stdout} = await host.run(['ip', 'netns', 'exec', 'pod-3', 'getent', 'ahosts', name]);
    t.regex(stdout, /^10\.61\.0\.2 /, name);
  }
  // The client is in neither network that is asked for here.
  t.is((await lookUp(host, 'pod-3', 'web.six.test')).rcode, 'NXDOMAIN');
  t.is((await lookUp(host, 'pod-3', reverse, {type: 'PTR'})).rcode, 'NXDOMAIN');
});

test("a thousand names, answers that do not fit a datagram, and other servers' names as the host's file changes", async (t) => {
  const host = await makeHost(t);
  await makeNetwork(host, 'net1', {subnets: ['10.61.0.0/16']});
  await host.addNetnses('upstream', 2);
  for (const i of [0, 1]) {
    await host.sh(
      `ip link add out${i} type veth peer name eth0 netns upstream-${i}
       ip addr add 192.0.${i}.254/24 dev out${i}; ip link set out${i} up
       ip -n upstream-${i} addr add 192.0.${i}.53/24 dev eth0; ip -n upstream-${i} link set eth0 up`,
    );
    await startDnsServer(host, `upstream-${i}`, {'example.org': `203.0.113.${i}`});
  }
  await host.write('/run/host/resolv.conf', 'nameserver 192.0.0.53\n');
  await startAgentOn(host, {config: {names: {resolvConf: '/run/host/resolv.conf', rescanMs: 3_600_000}}});
  await host.addNetns('client');
  await attachNamed(host, 'net1', 'client');
  const file = {network: 'net1', ifName: 'eth0', domain: 'net1.weft.internal', listen: [server]};
  await host.sh(
    `cd /run/weft/discovery/net1
     for i in $(seq 0 999); do
       echo '{"containerId":"c'$i'","names":["web-'$i'","all"],"ips":["10.61.'$((8 + i / 250))'.'$((i % 250 + 1))'"],'"$1" > .new
       mv .new c$i:eth0.json
     done`,
    {args: [JSON.stringify(file).slice(1)], timeoutMs: 60_000},
  );
  const names = Array.from({length: 1000}, (_, i) => ({server, name: `web-${i}`}));
  const last = async () => (await lookUp(host, 'client', 'web-999')).rcode;
  for (const deadline = Date.now() + 20_000; (await last()) !== 'NOERROR' && Date.now() < deadline;);
  for (let at = 0; at < names.length; at += 250) {
    const answers = await askDns(host, 'client', names.slice(at, at + 250));
    t.deepEqual(
      answers.map((answer) => dataOf(answer).join()),
      names
        .slice(at, at + 250)
        .map((_, i) => `10.61.${8 + Math.floor((at + i) / 250)}.${((at + i) % 250) + 1}`),
    );
  }
  const plain = await lookUp(host, 'client', 'all');
  t.true(plain.truncated && plain.bytes <= 512, String(plain.bytes));
  const large = await lookUp(host, 'client', 'all', {ednsSize: 4096});
  t.true(large.truncated && large.bytes <= 1232 && large.bytes > 512, String(large.bytes));
  const whole = await lookUp(host, 'client', 'all', {transport: 'tcp'});
  t.false(whole.truncated);
  t.is(new Set(dataOf(whole)).size, 1000);
  // The host's servers change while the agent runs, in the way that system tools change them.
  t.deepEqual(dataOf(await lookUp(host, 'client', 'example.org')), ['203.0.113.0']);
  await host.sh('cd /run/host; echo nameserver 192.0.1.53 > new; mv new resolv.conf');
  let found: readonly string[] = [];
  for (const deadline = Date.now() + 20_000; Date.now() < deadline;) {
    found = dataOf(await lookUp(host, 'client', 'example.org'));
    if (found[0] === '203.0.113.1') break;
  }
  t.deepEqual(found, ['203.0.113.1']);
});
