import {execFileSync} from 'node:child_process';
import {existsSync, readdirSync, readFileSync, rmSync} from 'node:fs';
import {basename} from 'node:path';
import type {Host} from '../../lib/host.ts';
import {plugin as bridge} from '../../plugins/bridge/plugin.ts';
import {plugin as hostLocal} from '../../plugins/host-local/plugin.ts';
import {plugin as vxlan} from '../../plugins/vxlan/plugin.ts';
import {FailingKernel, type Loss} from './failing-host.ts';
import {runVerb, type VerbOutcome} from './run-verb.ts';

// Runs in a test host: `node every-vxlan-request.ts ADD|DEL <netns> request|answer cold|warm …`, the configuration with a `static` list on stdin. Fails
// each netlink request of the verb in turn, the delegates' included, on the real kernel, and prints one JSON line for each with
// what is left.

const plugins = new Map([bridge, hostLocal].map((plugin) => [plugin.name, plugin]));
const [verb, netns, loss, ...starts] = process.argv.slice(2) as [
  'ADD' | 'DEL',
  string,
  Loss,
  ...('cold' | 'warm')[],
];
const conf = readFileSync(0, 'utf8');

const run = (command: string, host: Host) =>
  runVerb(vxlan, {command, netns, conf, findBuiltin: (file) => plugins.get(basename(file))}, host);

const show = (command: string, ...args: string[]) => execFileSync(command, args, {encoding: 'utf8'});

function filesBelow(directory: string): string[] {
  if (!existsSync(directory)) return [];
  return readdirSync(directory, {recursive: true, withFileTypes: true})
    .filter((entry) => entry.isFile() && !/^(lock|last_reserved_ip\.\d)$/.test(entry.name))
    .map((entry) => `file ${entry.parentPath}/${entry.name}`);
}

/** Everything of an attachment; the way to other hosts is none of it, nor are bridges and empty chains. */
function leftovers(): string[] {
  const lines = (text: string, part: RegExp) => text.split('\n').filter((line) => part.test(line));
  return [
    ...lines(show('ip', '-o', 'link'), /veth/),
    ...lines(show('nsenter', `--net=${netns}`, 'ip', '-o', 'link'), /eth0/),
    ...lines(show('nft', 'list', 'ruleset'), /id: c"/),
    ...filesBelow('/var/lib/cni'),
    ...filesBelow('/run/weft/overlay/requests'),
  ];
}

const undisturbed = () => new FailingKernel(-1, 'request').open();

/** `cold`: tunnel and bridge are yet to be made, too. */
function setOut(): void {
  const script =
    'for link in $(ip -o link | grep -oE "(flannel|br-vx|cni)[^:@ ]*"); do ip link del $link; done; nft flush ruleset';
  execFileSync('sh', ['-c', `{ ${script}; } 2>/dev/null; true`]);
  rmSync('/run/weft/overlay', {recursive: true, force: true});
}

for (const start of starts) await failEach(start);

async function failEach(start: 'cold' | 'warm'): Promise<void> {
  for (let failing = 0; ; failing++) {
    if (start === 'cold') setOut();
    else {
      await run('ADD', undisturbed());
      await run('DEL', undisturbed());
    }
    if (verb === 'DEL') await run('ADD', undisturbed());
    const kernel = new FailingKernel(failing, loss);
    const outcome = await run(verb, kernel.open());
    const asked = kernel.requests.length;
    let left = leftovers();
    let again: VerbOutcome | undefined;
    if (verb === 'DEL' || outcome.code === 0) {
      again = await run('DEL', undisturbed());
      left = leftovers();
    } else {
      // The next ADD completes what this one began of the tunnel.
      again = await run('ADD', undisturbed());
      await run('DEL', undisturbed());
      left = [...left, ...leftovers()];
    }
    const what = kernel.requests[failing];
    console.log(JSON.stringify({loss, start, failing, what, ...outcome, again, left}));
    if (failing >= asked) break;
  }
}
