import {execFileSync} from 'node:child_process';
import {existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync} from 'node:fs';
import {tmpdir} from 'node:os';
import path from 'node:path';
import {findPackages} from '../integration/harness/debian.ts';
import {pluginDir} from '../integration/harness/paths.ts';
import {runPlugin} from '../lib/cni/skel.ts';
import {plugin} from '../plugins/host-local/plugin.ts';

/*
 * What host-local costs as a network fills: each verb in process (what the plugin itself does, from the text of the
 * configuration to the text of the result) and as a whole process, next to Debian's Go plugin. In turns, so that all
 * see the same machine. `npm run build` first; the reference is in the table once `npm test` has fetched it.
 */

/** What the project promises: in process, at 10,000 reservations against 10. */
const promise = 2;
const sizes = [10, 1000, 10_000];
const rounds = Number(process.env['RUNS'] ?? 40);
const verbs = ['ADD', 'CHECK', 'DEL'] as const;
type Verb = (typeof verbs)[number];

const packages = findPackages('reference');
const executables: Record<string, string> = {};
if (existsSync(`${pluginDir}/host-local`)) executables['weft, whole process'] = `${pluginDir}/host-local`;
if (packages) executables['Go, whole process'] = path.join(packages, 'usr/lib/cni/host-local');

const root = mkdtempSync(path.join(tmpdir(), 'weft-bench-'));
const times = new Map<string, number[]>();

try {
  for (const size of sizes) await measure(size);
} finally {
  rmSync(root, {recursive: true, force: true});
}
process.exitCode = printTable();

async function measure(size: number): Promise<void> {
  // Each has a directory of its own: beside the Go plugin, weft would read the directory anew each time.
  const kinds = ['weft, in process', ...Object.keys(executables)];
  const confs = new Map(kinds.map((kind, i) => [kind, makeNetwork(`n${size}-${i}`, size)]));
  for (let round = -3; round < rounds; round++) {
    for (const [kind, conf] of confs) {
      for (const verb of verbs) {
        const started = performance.now();
        const executable = executables[kind];
        if (executable) execFileSync(executable, {env: environment(verb), input: conf});
        else await callInProcess(verb, conf);
        // The first rounds fill the caches.
        if (round >= 0) timesOf(kind, verb, size).push(performance.now() - started);
      }
    }
  }
}

/** A network of which `size` addresses are taken, as its containers left it. */
function makeNetwork(name: string, size: number): string {
  const directory = path.join(root, 'networks', name);
  mkdirSync(directory, {recursive: true});
  for (let i = 2; i < size + 2; i++) {
    const id = `${i}`.padStart(64, 'c0ffee');
    writeFileSync(path.join(directory, `10.80.${i >> 8}.${i & 255}`), `${id}\r\neth0`);
  }
  writeFileSync(path.join(directory, 'last_reserved_ip.0'), `10.80.${(size + 1) >> 8}.${(size + 1) & 255}`);
  const ipam = {
    type: 'host-local',
    dataDir: path.join(root, 'networks'),
    indexDir: path.join(root, 'index'),
    ranges: [[{subnet: '10.80.0.0/16'}]],
  };
  return JSON.stringify({cniVersion: '1.0.0', name, type: 'bridge', ipam});
}

function environment(verb: Verb) {
  return {
    CNI_COMMAND: verb,
    CNI_CONTAINERID: 'bench',
    CNI_NETNS: '/no/such/netns',
    CNI_IFNAME: 'eth0',
    CNI_PATH: '/no/such/path',
  };
}

async function callInProcess(verb: Verb, conf: string): Promise<void> {
  let stdout = '';
  const io = {
    env: environment(verb),
    stdin: async () => conf,
    stdout: async (text: string) => void (stdout += text),
    stderr: (text: string) => process.stderr.write(text),
  };
  // host-local asks nothing of the kernel's network.
  const code = await runPlugin(plugin, io, undefined as never, () => undefined);
  if (code !== 0) throw new Error(stdout);
}

function timesOf(kind: string, verb: Verb, size: number): number[] {
  const key = `${kind}/${verb}/${size}`;
  let found = times.get(key);
  if (!found) times.set(key, (found = []));
  return found;
}

function printTable(): 0 | 1 {
  console.log(`${rounds} rounds in turns; median in milliseconds, by the number of reservations`);
  const header = ['', '', ...sizes.map((size) => size.toLocaleString('en')), 'last to first'];
  console.log(formatRow(header));
  let worst = 0;
  for (const kind of ['weft, in process', ...Object.keys(executables)]) {
    for (const verb of verbs) {
      const medians = sizes.map((size) => median(timesOf(kind, verb, size)));
      const ratio = medians.at(-1)! / medians[0]!;
      if (!executables[kind]) worst = Math.max(worst, ratio);
      console.log(formatRow([kind, verb, ...medians.map((each) => each.toFixed(2)), ratio.toFixed(2)]));
    }
  }
  const isKept = worst <= promise;
  console.log(
    `in process at most ${worst.toFixed(2)} times; promised is ${promise}: ${isKept ? 'kept' : 'NOT kept'}`,
  );
  return isKept ? 0 : 1;
}

function formatRow([kind = '', verb = '', ...cells]: readonly string[]): string {
  return `${kind.padEnd(22)}${verb.padEnd(8)}${cells.map((cell) => cell.padStart(10)).join('')}`;
}

function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)]!;
}
