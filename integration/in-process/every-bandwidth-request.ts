import {execFileSync} from 'node:child_process';
import {text} from 'node:stream/consumers';
import type {Host} from '../../lib/host.ts';
import {plugin as bandwidth} from '../../plugins/bandwidth/plugin.ts';
import {FailingKernel, type Loss} from './failing-host.ts';
import {runVerb} from './run-verb.ts';

// Runs in a test host: `node every-bandwidth-request.ts ADD|DEL <netns>`, the configuration with prevResult on stdin. Fails
// each netlink request of the verb in turn, on the real kernel, and prints one JSON line for each with what is left.

const [verb, netns] = process.argv.slice(2) as ['ADD' | 'DEL', string];
const conf = await text(process.stdin);

const run = (command: string, host: Host) =>
  runVerb(bandwidth, {command, netns, conf, containerId: 'pod'}, host);

const lines = (...argv: [string, ...string[]]) =>
  execFileSync(argv[0], argv.slice(1), {encoding: 'utf8'}).split('\n');

function leftovers(): string[] {
  const qdiscs = lines('tc', 'qdisc', 'show').filter((line) => /^qdisc (tbf|htb|bfifo|ingress)/.test(line));
  return [...lines('ip', '-o', 'link', 'show', 'type', 'ifb'), ...qdiscs].filter((line) => line !== '');
}

/** What DEL leaves to the plugin that removes the veth pair. */
function removeQdiscs(): void {
  for (const line of leftovers()) {
    const [, device, place] = /^qdisc \w+ \w+: dev (veth\w+) (root|parent ffff:fff1)/.exec(line) ?? [];
    if (device && place)
      execFileSync('tc', ['qdisc', 'del', 'dev', device, place === 'root' ? place : 'ingress']);
  }
}

for (const loss of ['request', 'answer'] as const) await failEach(loss);

async function failEach(loss: Loss): Promise<void> {
  for (let failing = 0; ; failing++) {
    const undisturbed = () => new FailingKernel(-1, loss).open();
    if (verb === 'DEL') await run('ADD', undisturbed());
    const kernel = new FailingKernel(failing, loss);
    const outcome = await run(verb, kernel.open());
    const asked = kernel.requests.length;
    let again: {code: number; stdout: string} | undefined;
    if (verb === 'DEL' || outcome.code === 0) {
      again = await run('DEL', undisturbed());
      removeQdiscs();
    }
    const left = leftovers();
    console.log(JSON.stringify({loss, failing, what: kernel.requests[failing], ...outcome, again, left}));
    if (failing >= asked) break;
  }
}
