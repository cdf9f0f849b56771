import {execFileSync} from 'node:child_process';
import {readFileSync} from 'node:fs';
import type {Host} from '../../lib/host.ts';
import {plugin as sbr} from '../../plugins/sbr/plugin.ts';
import {plugin as tuning} from '../../plugins/tuning/plugin.ts';
import {FailingKernel} from './failing-host.ts';
import {runVerb, type VerbOutcome} from './run-verb.ts';

// Runs in a test host: `node every-chained-request.ts ADD|DEL <netns> <script that makes eth0 anew>`, the configuration with
// prevResult on stdin. Fails each netlink request of the verb in turn, on the real kernel, and prints one JSON line for each
// with what is not as it should be: as it was before an ADD that failed, or as an undisturbed ADD and DEL leave it.

const plugins = {sbr, tuning};
const [verb, netns, setUp] = process.argv.slice(2) as ['ADD' | 'DEL', string, string];
const conf = readFileSync(0, 'utf8');
const {type} = JSON.parse(conf) as {type: keyof typeof plugins};

const run = (command: string, host: Host) => runVerb(plugins[type], {command, netns, conf}, host);
const undisturbed = () => new FailingKernel(-1, 'request').open();

const look = `
ip -d link show dev eth0
ip rule
ip -6 rule
ip route show table all
ip -6 route show table all
cat /proc/sys/net/ipv4/conf/eth0/arp_filter
ls /run/cni/tuning 2>/dev/null || true
`;

/** All that the two plugins change, without the numbers that differ from one eth0 to the next. */
function takeLook(): string[] {
  const text = execFileSync('nsenter', [`--net=${netns}`, 'sh', '-ec', look], {encoding: 'utf8'});
  return (
    text
      .replaceAll(/^\d+: (?=eth0)|eth0@if\d+|^ +link\/ether.*promiscuity/gm, (line) =>
        line.replaceAll(/\d+/g, ''),
      )
      .split('\n')
      // What IPv6 makes itself, a moment after the link came up.
      .filter((line) => !/fe80:|ff00::/.test(line))
  );
}

function makeAnew(): void {
  execFileSync('sh', ['-ec', setUp]);
}

makeAnew();
const before = takeLook();
await run('ADD', undisturbed());
const [during] = [takeLook()];
await run('DEL', undisturbed());
const after = takeLook();
if (during.join() === before.join()) throw new Error('the ADD changed nothing');

for (const loss of ['request', 'answer'] as const) {
  for (let failing = 0; ; failing++) {
    makeAnew();
    if (verb === 'DEL') await run('ADD', undisturbed());
    const kernel = new FailingKernel(failing, loss);
    const outcome = await run(verb, kernel.open());
    const asked = kernel.requests.length;
    const isUndone = verb === 'ADD' && outcome.code !== 0;
    let again: VerbOutcome | undefined;
    if (!isUndone) again = await run('DEL', undisturbed());
    const [expected, found] = [isUndone ? before : after, takeLook()];
    const left = [
      ...found.filter((line) => !expected.includes(line)),
      ...expected.filter((line) => !found.includes(line)).map((line) => `missing: ${line}`),
    ];
    console.log(JSON.stringify({loss, failing, what: kernel.requests[failing], ...outcome, again, left}));
    if (failing >= asked) break;
  }
}
