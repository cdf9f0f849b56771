import type {ChildProcess} from 'node:child_process';
import {existsSync} from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import {createInterface} from 'node:readline';
import {parseArgs} from 'node:util';
import type {Conflist} from '../integration/harness/chain.ts';
import {ensurePackages} from '../integration/harness/debian.ts';
import {startHost, type TestHost} from '../integration/harness/host.ts';
import {pluginDir} from '../integration/harness/paths.ts';
import {referenceDir} from '../integration/harness/plugin.ts';
import {readDefaultConflist} from '../integration/harness/podman-chain.ts';
import {
  addCounts,
  addTimes,
  formatSummary,
  kinds,
  makeMeasured,
  summarize,
  verbs,
  type Kind,
  type Measured,
} from './chain-report.ts';
import type {Answer, Order, Setting} from './chain-worker.ts';
import {findIptables} from './site.ts';

/*
 * What podman's default chain (bridge, portmap with one port, firewall, tuning) costs per container, on a node with
 * one container and on one with 300: ours next to Debian's Go plugins. Each of the four has a host of its own, and
 * they take turns, so that all see the same machine. Root, and `npm run build` first. `--json` prints all numbers,
 * `--syscalls` counts these as well; RUNS and SIZES in the environment change how much is measured.
 */

const {values: flags} = parseArgs({
  options: {json: {type: 'boolean', default: false}, syscalls: {type: 'boolean', default: false}},
});
const rounds = Number(process.env['RUNS'] ?? 20);
const sizes = (process.env['SIZES'] ?? '1,300').split(',').map(Number);

/** A host with `size` containers, to which one more comes and goes. */
interface Site extends Measured {
  readonly host: TestHost;
  readonly worker: ChildProcess;
  readonly waiting: ((answer: Answer) => void)[];
}

if (!existsSync(`${pluginDir}/portmap`))
  throw new Error(`${pluginDir} has no plugins: run \`npm run build\` first`);
for (const set of ['tools', 'reference', 'podman'] as const) await ensurePackages(set);
const conflist = JSON.parse(await readDefaultConflist()) as Conflist;
const load = () => os.loadavg()[0]!;
const loadBefore = load();
const sites: Site[] = [];
try {
  for (const size of sizes) for (const kind of kinds) sites.push(await openSite(kind, size));
  await Promise.all(sites.map((site) => fill(site)));
  await takeTurns();
  for (const site of sites) await count(site);
} finally {
  for (const {worker, host} of sites) {
    worker.kill('SIGKILL');
    await host.close();
  }
}
const summary = summarize(sites);
const loads = {before: loadBefore, after: load(), processors: os.availableParallelism()};
if (flags.json) {
  console.log(JSON.stringify({rounds, loads, ...summary}, undefined, 2));
} else {
  console.log(`\npodman's default chain, ${rounds} rounds in turns. Milliseconds: median and 95th percentile of whole
processes, processor time per call with all that it starts. programs: what the four plugins start; netlink: calls
that send to the kernel. ${loads.processors} processors, load ${loads.before.toFixed(1)} before, ${loads.after.toFixed(1)} after.\n`);
  console.log(formatSummary(summary, {withSyscalls: flags.syscalls}));
}
process.exitCode = summary.isKept ? 0 : 1;

async function openSite(kind: Kind, size: number): Promise<Site> {
  const host = await startHost();
  await host.addNetnses('pod', size + 1);
  const setting: Setting = {
    conflist,
    dir: kind === 'weft' ? pluginDir : referenceDir(),
    env: kind === 'weft' ? {PATH: '/usr/sbin:/usr/bin:/sbin:/bin'} : await findIptables(host),
  };
  const script = path.join(import.meta.dirname, 'chain-worker.ts');
  const argv = [process.execPath, '--no-warnings', script, JSON.stringify(setting)];
  const worker = host.start(argv, {stdin: 'pipe'});
  const waiting: Site['waiting'] = [];
  const lines = createInterface({input: worker.stdout!});
  lines.on('line', (line) => waiting.shift()?.(JSON.parse(line) as Answer));
  let said = '';
  worker.stderr!.on('data', (chunk: Buffer) => (said += chunk.toString()));
  worker.on('close', (code) => {
    for (const resolve of waiting)
      resolve({shares: [], cpuMs: 0, error: `the worker ended with ${code}: ${said}`});
  });
  return {...makeMeasured(kind, size), host, worker, waiting};
}

async function obtain(site: Site, order: Order): Promise<Answer> {
  const answer = await new Promise<Answer>((resolve) => {
    site.waiting.push(resolve);
    site.worker.stdin!.write(`${JSON.stringify(order)}\n`);
  });
  if (answer.error !== undefined) throw new Error(`${site.kind} with ${site.size}: ${answer.error}`);
  return answer;
}

async function fill(site: Site): Promise<void> {
  for (let container = 0; container < site.size; container++) {
    await obtain(site, {verb: 'ADD', container, how: 'timed'});
    if (!flags.json && container % 100 === 99)
      console.log(`${site.kind}: ${container + 1} of ${site.size} containers are there`);
  }
}

async function takeTurns(): Promise<void> {
  const cpuMs = new Map<Site, number>();
  // The first rounds fill the caches.
  for (let round = -2; round < rounds; round++)
    for (const site of sites)
      for (const verb of verbs) {
        const answer = await obtain(site, {verb, container: site.size, how: 'timed'});
        const before = cpuMs.get(site) ?? answer.cpuMs;
        cpuMs.set(site, answer.cpuMs);
        if (round < 0) continue;
        site.cpuMs[verb] += answer.cpuMs - before;
        addTimes(site, verb, answer.shares);
      }
}

/** Once more, with each plugin under strace. */
async function count(site: Site): Promise<void> {
  for (const how of flags.syscalls ? (['counted', 'syscalls'] as const) : (['counted'] as const))
    for (const verb of verbs)
      addCounts(site, verb, (await obtain(site, {verb, container: site.size, how})).shares);
}
