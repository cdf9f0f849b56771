import {execFileSync} from 'node:child_process';
import {mkdirSync, readFileSync, readdirSync} from 'node:fs';
import type {Host} from '../../lib/host.ts';
import {plugin as bridge} from '../../plugins/bridge/plugin.ts';
import {plugin as hostLocal} from '../../plugins/host-local/plugin.ts';
import {plugin as ptp} from '../../plugins/ptp/plugin.ts';
import {FailingKernel, type Loss} from './failing-host.ts';
import {runVerb, type VerbOutcome} from './run-verb.ts';

// Runs in a test host: `node every-request.ts ADD|DEL <netns>`, the configuration on stdin, whose type is one of
// the plugins that make veth pairs. Fails each netlink request of the verb in turn, on the real kernel, and prints one JSON
// line for each with what is left.

const plugins = {bridge, ptp};

const [verb, netns] = process.argv.slice(2) as ['ADD' | 'DEL', string];
const conf = readFileSync(0, 'utf8');
const {type, ipam} = JSON.parse(conf) as {type: keyof typeof plugins; ipam: {dataDir: string}};
const {dataDir} = ipam;

const run = (command: string, host: Host) =>
  runVerb(plugins[type], {command, netns, conf, ipam: hostLocal}, host);

const show = (command: string, ...args: string[]) => execFileSync(command, args, {encoding: 'utf8'});

/** Everything of an attachment, one line each; the shared bridge and empty chains are none of it. */
function leftovers(): string[] {
  const links = show('ip', '-o', 'link')
    .split('\n')
    .filter((line) => line.includes('veth'));
  const inside = show('nsenter', `--net=${netns}`, 'ip', '-o', 'link')
    .split('\n')
    .filter((line) => line.includes('eth0'));
  const nft = show('nft', 'list', 'ruleset')
    .split('\n')
    .filter((line) => /id: c"|macspoofchk|cni-br/.test(line));
  const leases = readdirSync(`${dataDir}/requests`, {recursive: true}).filter((name) =>
    /^\d|:/.test(String(name)),
  );
  return [...links, ...inside, ...nft, ...leases.map((name) => `lease ${String(name)}`)];
}

mkdirSync(`${dataDir}/requests`, {recursive: true});
for (const loss of ['request', 'answer'] as const) {
  for (const start of ['cold', 'warm'] as const) await failEach(loss, start);
}

/** `cold`: the bridge and the tables are yet to be made, too. */
async function failEach(loss: Loss, start: 'cold' | 'warm'): Promise<void> {
  for (let failing = 0; ; failing++) {
    const undisturbed = () => new FailingKernel(-1, loss).open();
    if (start === 'cold') {
      execFileSync('sh', ['-c', 'ip link del cni0 2>/dev/null; nft flush ruleset']);
    } else {
      await run('ADD', undisturbed());
      await run('DEL', undisturbed());
    }
    if (verb === 'DEL') await run('ADD', undisturbed());
    const kernel = new FailingKernel(failing, loss);
    const outcome = await run(verb, kernel.open());
    const asked = kernel.requests.length;
    let left = leftovers();
    // A DEL that failed says so, and the runtime asks again.
    let again: VerbOutcome | undefined;
    if (verb === 'DEL' || outcome.code === 0) {
      again = await run('DEL', undisturbed());
      left = leftovers();
    }
    console.log(
      JSON.stringify({loss, start, failing, what: kernel.requests[failing], ...outcome, again, left}),
    );
    if (failing >= asked) break;
  }
}
