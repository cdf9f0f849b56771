import path from 'node:path';
import {binOf, ensurePackages, toolPath} from './harness/debian.ts';
import {startAgentOn} from './harness/agent.ts';
import {makeHost, type TestHost} from './harness/host.ts';
import {askDns, namedNetwork} from './harness/names.ts';
import type {Question} from './harness/dns-worker.ts';
import {testWith} from './harness/needs.ts';
import {pluginDir} from './harness/paths.ts';

const test = testWith('root', 'apt');
const server = '10.61.0.1';
const domain = 'dns.podman';

test.before(async () => {
  await ensurePackages('names');
});

const containers = [
  {name: 'client', aliases: []},
  {name: 'web', aliases: ['www', 'api']},
  {name: 'db', aliases: []},
];

const kinds = ['weft', 'dnsname', 'aardvark-dns'] as const;
type Kind = (typeof kinds)[number];

const rootOfNames = () => path.resolve(path.dirname(toolPath('dnsperf', 'names')), '../root');

/** Calls the chain for a container; with Debian's dnsname in place of ours where `debian` says so. */
async function callChain(
  host: TestHost,
  verb: 'add' | 'del',
  name: string,
  {debian, aliases = []}: {readonly debian: boolean; readonly aliases?: readonly string[]},
): Promise<void> {
  const dirs = debian ? [path.join(rootOfNames(), 'usr/lib/cni'), pluginDir] : [pluginDir];
  await host.run([path.join(pluginDir, 'cnitool'), verb, 'net1', `/run/netns/${name}`], {
    env: {
      PATH: `${binOf('names')}:${binOf('tools')}:/usr/sbin:/usr/bin:/sbin:/bin`,
      CNI_PATH: dirs.join(':'),
      NETCONFPATH: '/etc/cni/net.d',
      CNI_ARGS: `IgnoreUnknown=1;K8S_POD_NAME=${name}`,
      CAP_ARGS: JSON.stringify({aliases: {net1: aliases}}),
    },
  });
}

/** The same three containers on a host, and a server of a kind for them. */
async function start(host: TestHost, kind: Kind): Promise<void> {
  const type = kind === 'aardvark-dns' ? 'tuning' : 'dnsname';
  const conf = JSON.parse(
    namedNetwork('net1', {type, subnets: ['10.61.0.0/24'], bridge: 'br-net1', keys: {domainName: domain}}),
  ) as {plugins: object[]};
  await host.write('/etc/cni/net.d/net1.conflist', JSON.stringify(conf));
  if (kind === 'weft') await startAgentOn(host);
  for (const {name, aliases} of containers) {
    await host.addNetns(name);
    await callChain(host, 'add', name, {debian: kind === 'dnsname', aliases});
  }
  if (kind !== 'aardvark-dns') return;
  const lines = containers.map(
    ({name, aliases}, i) => `${name} 10.61.0.${i + 2}  ${[name, ...aliases].join()}\n`,
  );
  await host.run(['mkdir', '-p', '/run/aardvark']);
  await host.write('/run/aardvark/net1', `${server}\n${lines.join('')}`);
  host.start([
    path.join(rootOfNames(), 'usr/lib/podman/aardvark-dns'),
    '--config',
    '/run/aardvark',
    '--port',
    '53',
    'run',
  ]);
}

const key = ({name, type = 'A', transport = 'udp'}: Question) =>
  `${name} ${type}${transport === 'tcp' ? ' over TCP' : ''}`;

const questions: readonly Question[] = [
  ...['web', 'WEB', `web.${domain}`, `Web.DNS.podman`, 'www', `api.${domain}`, 'db', 'client'].map(
    (name) => ({name}),
  ),
  ...['3.0.61.10.in-addr.arpa', '4.0.61.10.in-addr.arpa'].map((name) => ({name, type: 'PTR'})),
  ...['AAAA', 'MX', 'TXT', 'SRV', 'HTTPS', 'CNAME'].map((type) => ({name: `web.${domain}`, type})),
  {name: 'web', type: 'AAAA'},
  {name: `nobody.${domain}`},
  {name: `nobody.${domain}`, type: 'MX'},
  {name: `web.${domain}`, transport: 'tcp' as const},
].map((each) => ({...each, server}));

/**
 * Where others answer otherwise, and why ours is another. Everything else is the same, but for the times to live of this release of
 * aardvark-dns (86400; newer ones have our 0).
 */
const differences: Readonly<Record<string, Partial<Record<Kind, string>>>> = {
  // Denials and empty answers have to say how long they may be kept (RFC 2308).
  ...Object.fromEntries(
    ['AAAA', 'MX', 'TXT', 'SRV', 'HTTPS', 'CNAME'].map((type) => [
      `web.${domain} ${type}`,
      {weft: 'NOERROR SOA', dnsname: 'NOERROR', 'aardvark-dns': 'NOERROR'},
    ]),
  ),
  ...Object.fromEntries(
    ['A', 'MX'].map((type) => [
      `nobody.${domain} ${type}`,
      {weft: 'NXDOMAIN SOA', dnsname: 'NXDOMAIN', 'aardvark-dns': 'NXDOMAIN'},
    ]),
  ),
  // dnsmasq asks elsewhere for a type that a short name lacks; resolvers that ask for both families take that for no such host.
  'web AAAA': {weft: 'NOERROR SOA', dnsname: 'REFUSED', 'aardvark-dns': 'NOERROR'},
  // This release of aardvark-dns knows its domain in lower case alone, and does not listen on TCP.
  'Web.DNS.podman A': {'aardvark-dns': 'no answer'},
  [`web.${domain} A over TCP`]: {'aardvark-dns': 'ECONNREFUSED'},
  // An address leads to one name in full.
  '3.0.61.10.in-addr.arpa PTR': {'aardvark-dns': 'NOERROR api web www'},
  '4.0.61.10.in-addr.arpa PTR': {'aardvark-dns': 'NOERROR db'},
};

test("answers are those of Debian's dnsname and aardvark-dns, but for what is listed", async (t) => {
  t.timeout(300_000);
  const said: Record<string, Partial<Record<Kind, string>>> = {};
  for (const kind of kinds) {
    const host = await makeHost(t);
    await start(host, kind);
    for (const deadline = Date.now() + 20_000; ;) {
      const [first] = await askDns(host, 'client', [{server, name: 'web'}]);
      if (first!.rcode === 'NOERROR' || Date.now() > deadline) break;
    }
    const answers = await askDns(host, 'client', questions);
    for (const [i, {rcode, answers: found, authority}] of answers.entries()) {
      const data = found.map((each) => String(each.data)).toSorted();
      const code = rcode === 'ABORT_ERR' ? 'no answer' : rcode;
      (said[key(questions[i]!)] ??= {})[kind] = [
        code,
        ...data,
        ...(authority.length > 0 ? ['SOA'] : []),
      ].join(' ');
    }
  }
  for (const [question, {weft, ...others}] of Object.entries(said)) {
    const expected = {dnsname: weft, 'aardvark-dns': weft, weft, ...differences[question]};
    t.deepEqual({weft, ...others}, expected, question);
  }
});

test('a network of dnsname is taken over while its containers run', async (t) => {
  t.timeout(300_000);
  const host = await makeHost(t);
  await start(host, 'dnsname');
  await startAgentOn(host);
  await host.addNetns('later');
  // dnsmasq still has the port: what the bridge's containers ask goes to the agent all the same.
  await callChain(host, 'add', 'later', {debian: false});
  const [own] = await askDns(host, 'later', [{server, name: 'later'}]);
  t.deepEqual(
    own!.answers.map(({data}) => data),
    ['10.61.0.5'],
  );
  t.regex((await host.sh('nft list table inet weft-names')).stdout, /redirect to/);
  // Those of before are removed by ours, and are known by ours when they are made anew.
  for (const {name, aliases} of containers) {
    await callChain(host, 'del', name, {debian: false});
    await callChain(host, 'add', name, {debian: false, aliases});
  }
  const answers = await askDns(host, 'client', [
    {server, name: 'www'},
    {server, name: 'db', transport: 'tcp'},
  ]);
  t.deepEqual(
    answers.map((each) => each.answers.length),
    [1, 1],
  );
  const {stdout} = await host.run(['cat', '/run/containers/cni/dnsname/net1/addnhosts']);
  t.regex(stdout, /web/);
  await host.sh(
    'kill $(cat /run/containers/cni/dnsname/net1/pidfile); rm -r /run/containers/cni/dnsname/net1',
  );
  const [after] = await askDns(host, 'later', [{server, name: 'web'}]);
  t.is(after!.answers.length, 1);
});
