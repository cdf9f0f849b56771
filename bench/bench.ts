import {execFileSync} from 'node:child_process';
import {existsSync, writeFileSync} from 'node:fs';
import {readFile} from 'node:fs/promises';
import os from 'node:os';
import type {Conflist} from '../integration/harness/chain.ts';
import {ensurePackages} from '../integration/harness/debian.ts';
import {pluginDir, repository} from '../integration/harness/paths.ts';
import {referenceDir} from '../integration/harness/plugin.ts';
import {readDefaultConflist} from '../integration/harness/podman-chain.ts';
import {
  fill,
  measureCalls,
  measureCrowd,
  measureFull,
  measureMemory,
  measureYoung,
  prepare,
  readAgentMemory,
  type Bench,
} from './measure.ts';
import {networks} from './networks.ts';
import {parseOptions, type Part} from './options.ts';
import {formatReport} from './report.ts';
import {Results} from './results.ts';
import {openSite, type Kind, type Site} from './site.ts';
import {fewPresent, judge} from './targets.ts';

/*
 * `npm run bench`: ours as processes of their own, ours through the agent, and another set of plugins, in turns on hosts
 * of their own. docs/performance.md says what the numbers mean. Root, and `npm run build` first.
 */

const options = parseOptions(process.argv.slice(2));
const opened: Site[] = [];
const results = new Results();
const startedAt = Date.now();
const load = () => os.loadavg()[0]!.toFixed(1);
const loadBefore = load();
try {
  await run();
} finally {
  await Promise.all(opened.map((site) => site.close()));
}

async function run(): Promise<void> {
  if (!existsSync(`${pluginDir}/weft`)) throw new Error(`${pluginDir} is empty: run \`npm run build\` first`);
  await ensurePackages('tools');
  const dirs = await findDirs();
  const small = await openAll(dirs);
  const bench: Bench = {sites: small, results, rounds: options.rounds};
  await runPart('memory', () => measureMemory(bench, networks.masq));
  await runPart('calls', async () => {
    await measureYoung(bench, networks.masq);
    for (const [name, network] of Object.entries(networks)) await measureCalls(bench, name, network);
  });
  await runPart('podman', async () => {
    const network = JSON.parse(await readDefaultConflist()) as Conflist;
    await measureCalls(bench, 'podman', network);
  });
  await runPart('crowd', () => measureCrowd(bench, networks.masq));
  for (const site of small) await weighAgent(site, (served) => `agent, ${served} calls`);
  await runPart('full', () => runFull(bench, dirs));
  for (const site of small) await checkWarm(site);
  finish();
}

async function runPart(part: Part, work: () => Promise<void>): Promise<void> {
  if (!options.only.includes(part)) return;
  console.error(`${((Date.now() - startedAt) / 1000).toFixed(0)} s: ${part}`);
  await work();
}

/** Where each kind's plugins are; ours as `weft install` puts them. */
async function findDirs(): Promise<Readonly<Record<Kind, string>>> {
  await ensurePackages('podman');
  if (options.peer === undefined) await ensurePackages('reference');
  const dirs = {
    standalone: `${repository}/dist/bench/standalone`,
    warm: `${repository}/dist/bench/warm`,
    peer: options.peer ?? referenceDir(),
  };
  for (const [dir, ...flags] of [
    [dirs.standalone, '--no-client'],
    [dirs.warm, '--client'],
  ] as const)
    execFileSync(`${pluginDir}/weft`, ['install', '--force', '--bin-dir', dir, ...flags], {
      stdio: 'pipe',
      env: {},
    });
  return dirs;
}

async function openAll(dirs: Readonly<Record<Kind, string>>): Promise<readonly Site[]> {
  const sites: Site[] = [];
  for (const kind of ['standalone', 'warm', 'peer'] as const) {
    // The agent that was installed with the clients: a build meanwhile would make another one.
    const site = await openSite({kind, dir: dirs[kind], weft: await findProgram(dirs.warm)});
    opened.push(site);
    sites.push(site);
    await prepare(site);
  }
  return sites;
}

/** The executable that an installed stub runs. */
async function findProgram(dir: string): Promise<string> {
  const program = /^#!(\S+) /.exec(await readFile(`${dir}/weft`, 'utf8'))?.[1];
  if (program === undefined) throw new Error(`${dir}/weft is no stub`);
  return program;
}

/** Full nodes, next to nodes with a few containers. */
async function runFull(bench: Bench, dirs: Readonly<Record<Kind, string>>): Promise<void> {
  const large = await openAll(dirs);
  const isMeasured = ({kind}: Site, size: number) => kind !== 'peer' || size <= options.peerSize;
  await Promise.all(bench.sites.map((site) => fill(site, {from: 0, to: fewPresent})));
  let there = 0;
  for (const size of options.sizes) {
    const from = there;
    const sites = (all: readonly Site[]) => all.filter((site) => isMeasured(site, size));
    await Promise.all(sites(large).map((site) => fill(site, {from, to: size})));
    there = size;
    console.error(`${((Date.now() - startedAt) / 1000).toFixed(0)} s: ${size} containers are there`);
    await measureFull(bench, {small: sites(bench.sites), large: sites(large), size});
  }
  for (const site of large) {
    await weighAgent(site, () => `agent, ${there} containers`);
    await checkWarm(site);
  }
}

/** The memory of a site's agent, if it has one that served any call. */
async function weighAgent(site: Site, name: (served: number) => string): Promise<void> {
  const counts = await site.countCalls();
  if (counts && counts.served > 0)
    results.memory.push({what: name(counts.served), kind: 'warm', ...(await readAgentMemory(site))});
}

/** A call that the agent refused was measured as a process of its own. */
async function checkWarm(site: Site): Promise<void> {
  const counts = await site.countCalls();
  if (counts && (counts.served === 0 || counts.refused > 0)) {
    console.error(
      `the agent served ${counts.served} calls, and refused ${counts.refused}: ${counts.reasons.join()}`,
    );
  }
}

function finish(): void {
  const found = results.found();
  const verdicts = judge(found);
  const machine = {
    processors: os.availableParallelism(),
    model: os.cpus()[0]?.model,
    kernel: os.release(),
    loadBefore,
    loadAfter: load(),
  };
  console.log(`${options.rounds} rounds in turns, ${machine.processors} processors (${machine.model}), Linux ${machine.kernel},
load ${machine.loadBefore} before and ${machine.loadAfter} after, ${((Date.now() - startedAt) / 1000).toFixed(0)} s\n`);
  console.log(formatReport(found, verdicts));
  if (options.json !== undefined) {
    const {rounds} = options;
    writeFileSync(options.json, `${JSON.stringify({machine, rounds, ...found, verdicts}, undefined, 2)}\n`);
  }
}
