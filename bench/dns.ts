import {existsSync} from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import {parseArgs} from 'node:util';
import {startAgentOn} from '../integration/harness/agent.ts';
import {ensurePackages, toolPath} from '../integration/harness/debian.ts';
import {startHost, type TestHost} from '../integration/harness/host.ts';
import {attachNamed, namedNetwork} from '../integration/harness/names.ts';
import {pluginDir, repository} from '../integration/harness/paths.ts';
import {spreadOf} from './statistics.ts';

/*
 * Names of containers, asked for by a container: our agent next to Debian's dnsmasq (what dnsname runs) and aardvark-dns. Each has a host of
 * its own with the same names, and they take turns. Latency is of one question after the other; throughput is dnsperf's. Root, and
 * `npm run build` first.
 */

const {values: flags} = parseArgs({
  options: {
    json: {type: 'boolean', default: false},
    rounds: {type: 'string', default: '7'},
    seconds: {type: 'string', default: '2'},
    names: {type: 'string', default: '100'},
  },
});
const rounds = Number(flags.rounds);
const count = Number(flags.names);
const server = '10.61.0.1';
const names = Array.from({length: count}, (_, i) => ({
  name: `web-${i}`,
  ip: `10.61.${1 + (i >> 8)}.${i & 255}`,
}));
const worker = path.join(repository, 'integration/harness/dns-latency-worker.ts');

const kinds = ['weft', 'dnsmasq', 'aardvark-dns'] as const;
type Kind = (typeof kinds)[number];

/** How a server with all names is started on a host whose client is attached. */
const starters: Readonly<Record<Kind, (host: TestHost) => Promise<unknown>>> = {
  async weft(host) {
    await host.run(['mkdir', '-p', '/run/weft/discovery/net1']);
    for (const {name, ip} of names) {
      const file = {
        network: 'net1',
        containerId: name,
        ifName: 'eth0',
        names: [name],
        domain: 'net1.test',
        ips: [ip],
        listen: [server],
      };
      await host.write(`/run/weft/discovery/net1/${name}:eth0.json`, JSON.stringify(file));
    }
    // Nobody's questions are held back in a race.
    await startAgentOn(host, {config: {logLevel: 'warn', names: {rateLimit: {perSecond: 1e9, burst: 1e9}}}});
  },
  async dnsmasq(host) {
    await host.write('/run/names', names.map(({name, ip}) => `${ip} ${name}\n`).join(''));
    const options = [
      '--keep-in-foreground',
      '--no-resolv',
      '--no-hosts',
      '--addn-hosts=/run/names',
      '--user=root',
    ];
    const listening = [
      `--listen-address=${server}`,
      '--bind-interfaces',
      '--local=/net1.test/',
      '--domain=net1.test',
    ];
    host.start([toolPath('dnsmasq', 'names'), ...options, ...listening, '--expand-hosts', '--pid-file=']);
  },
  async 'aardvark-dns'(host) {
    await host.run(['mkdir', '-p', '/run/aardvark']);
    const lines = names.map(({name, ip}) => `${name} ${ip}  ${name}\n`);
    await host.write('/run/aardvark/net1', `${server}\n${lines.join('')}`);
    const root = path.dirname(toolPath('dnsperf', 'names'));
    const program = path.join(root, '../root/usr/lib/podman/aardvark-dns');
    host.start([program, '--config', '/run/aardvark', '--port', '53', 'run']);
  },
};

interface Site {
  readonly kind: Kind;
  readonly host: TestHost;
  readonly latencies: number[];
  readonly rates: number[];
}

if (!existsSync(path.join(pluginDir, 'discovery'))) {
  throw new Error(`${pluginDir} has no plugins: run \`npm run build\` first`);
}
for (const set of ['tools', 'names'] as const) await ensurePackages(set);
const loadBefore = os.loadavg()[0]!;
const sites: Site[] = [];
try {
  for (const kind of kinds) sites.push(await openSite(kind));
  for (let round = 0; round < rounds; round++) {
    for (const site of sites) {
      site.latencies.push(...(await measureLatency(site)));
      site.rates.push(await measureRate(site));
    }
  }
} finally {
  for (const {host} of sites) await host.close();
}
report();

async function openSite(kind: Kind): Promise<Site> {
  const host = await startHost();
  const type = kind === 'weft' ? 'discovery' : 'tuning';
  await host.write('/etc/cni/net.d/net1.conflist', namedNetwork('net1', {type, subnets: ['10.61.0.0/16']}));
  await host.addNetns('client');
  await attachNamed(host, 'net1', 'client');
  await starters[kind](host);
  await host.write('/run/questions', names.map(({name}) => `${name}.net1.test A\n`).join(''));
  if (kind === 'aardvark-dns') {
    await host.write('/run/questions', names.map(({name}) => `${name} A\n`).join(''));
  }
  const site: Site = {kind, host, latencies: [], rates: []};
  await measureLatency(site);
  return site;
}

async function measureLatency({host, kind}: Site): Promise<number[]> {
  const {stdout} = await host.run(
    host.inNetns('client', [
      process.execPath,
      worker,
      server,
      kind === 'aardvark-dns' ? '' : '.net1.test',
      String(count),
    ]),
  );
  return JSON.parse(stdout) as number[];
}

async function measureRate({host, kind}: Site): Promise<number> {
  const argv = ['-s', server, '-d', '/run/questions', '-l', flags.seconds, '-q', '50', '-c', '8', '-T', '1'];
  const {stdout} = await host.run(host.inNetns('client', [toolPath('dnsperf', 'names'), ...argv]));
  const rate = Number(/Queries per second:\s+([\d.]+)/.exec(stdout)?.[1]);
  const lost = Number(/Queries lost:\s+(\d+)/.exec(stdout)?.[1]);
  const good = /Response codes:\s+NOERROR \d+ \(100\.00%\)/.test(stdout);
  if (!(rate > 0) || lost > 0 || !good) throw new Error(`${kind} did not answer every question:\n${stdout}`);
  return rate;
}

function report(): void {
  const rows = sites.map(({kind, latencies, rates}) => {
    const {median, p95} = spreadOf(latencies);
    const p99 = latencies.toSorted((a, b) => a - b)[Math.floor(latencies.length * 0.99)]!;
    return {server: kind, p50us: median, p95us: p95, p99us: p99, perSecond: spreadOf(rates).median};
  });
  if (flags.json) {
    console.log(JSON.stringify({rounds, names: count, rows}, undefined, 2));
    return;
  }
  console.log(`${count} names, ${rounds} rounds in turns; load ${loadBefore.toFixed(1)} before.\n`);
  console.log('server        p50 us  p95 us  p99 us   questions/s   of ours');
  for (const row of rows) {
    const ours = rows[0]!.perSecond;
    console.log(
      [
        row.server.padEnd(12),
        row.p50us.toFixed(0).padStart(7),
        row.p95us.toFixed(0).padStart(7),
        row.p99us.toFixed(0).padStart(7),
        row.perSecond.toFixed(0).padStart(13),
        (row.perSecond / ours).toFixed(2).padStart(9),
      ].join(' '),
    );
  }
}
