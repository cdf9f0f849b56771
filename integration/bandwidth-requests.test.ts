import {limits, prepare} from './harness/bandwidth.ts';
import {makeHost} from './harness/host.ts';
import {testWith} from './harness/needs.ts';
import {repository} from './harness/paths.ts';

const test = testWith('root');

interface Line {
  readonly loss: 'request' | 'answer';
  readonly failing: number;
  readonly what?: string;
  readonly code: number;
  readonly stdout: string;
  readonly again?: {readonly code: number; readonly stdout: string};
  readonly left: readonly string[];
}

const failsEach = test.macro(async (t, verb: 'ADD' | 'DEL', selection: object) => {
  const host = await makeHost(t);
  const {call} = await prepare(host, 'pod', {...limits, ...selection});
  const script = `${repository}/integration/in-process/every-bandwidth-request.ts`;
  const {stdout} = await host.run([process.execPath, script, verb, call.netns!], {
    stdin: JSON.stringify({...call.conf, prevResult: call.prevResult}),
    timeoutMs: 120_000,
  });
  const lines = stdout
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as Line);
  let failed = 0;
  for (const {loss, failing, what, code, stdout: said, again, left} of lines) {
    const where = `${verb}, ${loss} ${failing} lost (${what ?? 'none'})`;
    t.deepEqual(left, [], where);
    if (again) t.is(again.code, 0, `${where}: ${again.stdout}`);
    if (code === 0) continue;
    failed++;
    t.regex((JSON.parse(said) as {msg: string}).msg, /injected/, where);
  }
  // The run after the last request of each kind of loss.
  t.is(failed, lines.length - 2);
  t.log(`${lines.length} runs, ${failed} failed as they should`);
});

test('whichever netlink request of an ADD fails, the ADD takes back what it did', failsEach, 'ADD', {});
test('so does an ADD with shapedSubnets', failsEach, 'ADD', {shapedSubnets: ['10.0.0.0/8', '2001:db8::/32']});
test('so does an ADD with unshapedSubnets', failsEach, 'ADD', {unshapedSubnets: ['10.0.0.0/8']});
test('whichever netlink request of a DEL fails, the next DEL removes the rest', failsEach, 'DEL', {});
