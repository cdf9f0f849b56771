import {makeHost} from './harness/host.ts';
import {testWith} from './harness/needs.ts';
import {bridgeNetwork} from './harness/networks.ts';
import {repository} from './harness/paths.ts';

const test = testWith('root');

interface Line {
  readonly loss: 'request' | 'answer';
  readonly start: 'cold' | 'warm';
  readonly failing: number;
  readonly what?: string;
  readonly code: number;
  readonly stdout: string;
  readonly again?: {readonly code: number; readonly stdout: string};
  readonly left: readonly string[];
}

const failsEach = test.macro(async (t, verb: 'ADD' | 'DEL') => {
  const host = await makeHost(t);
  const netns = await host.addNetns('pod');
  const conf = bridgeNetwork({
    name: 'requests',
    cniVersion: '1.1.0',
    macspoofchk: true,
    hairpinMode: true,
    ipam: {
      type: 'host-local',
      dataDir: '/run/leases',
      ranges: [[{subnet: '10.61.0.0/24'}], [{subnet: '2001:db8:61::/64'}]],
      routes: [{dst: '0.0.0.0/0'}, {dst: '::/0'}],
    },
  });
  const script = `${repository}/integration/in-process/every-request.ts`;
  const {stdout} = await host.run([process.execPath, script, verb, netns], {
    stdin: JSON.stringify(conf),
    timeoutMs: 120_000,
  });
  const lines = stdout
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as Line);
  let failed = 0;
  for (const {loss, start, failing, what, code, stdout: said, again, left} of lines) {
    const where = `${verb} from ${start}, ${loss} ${failing} lost (${what ?? 'none'})`;
    t.deepEqual(left, [], where);
    if (again) t.is(again.code, 0, `${where}: ${again.stdout}`);
    if (code === 0) continue;
    failed++;
    t.regex((JSON.parse(said) as {msg: string}).msg, /injected/, where);
  }
  // What is asked again after a refusal is no error; nor is the run after the last request.
  t.true(failed >= lines.length / 2 - 2, `${failed} of ${lines.length} failed`);
  t.is(lines.at(-1)?.code, 0);
  t.log(`${lines.length} runs, ${failed} failed as they should`);
});

test('whichever netlink request of an ADD fails, the ADD takes back what it did', failsEach, 'ADD');
test('whichever netlink request of a DEL fails, the next DEL removes the rest', failsEach, 'DEL');
