import path from 'node:path';
import {judgeAnswer, type FuzzReport} from './harness/fuzz-worker.ts';
import {makeHost} from './harness/host.ts';
import {delAfter, makeFuzzCase, type FuzzCase} from './harness/mutate.ts';
import {testWith} from './harness/needs.ts';
import {pluginDir} from './harness/paths.ts';
import {chooseSeed, makeRandom} from './harness/random.ts';
import {assertNothingLeft, staysByDesign, takeSnapshot} from './harness/snapshot.ts';

const test = testWith('root');

const seed = chooseSeed();
// Bridges of any name stay, with the addresses they were given.
const allowed = [
  ...staysByDesign,
  /^address /,
  /^route /,
  /^file \/run\/(fuzz-a\/\S*(lock|last_reserved)|xtables)/,
];
/** What an agent says, for vxlan. */
const subnetEnv = `FLANNEL_NETWORK=10.79.0.0/16
FLANNEL_SUBNET=10.79.7.1/24
FLANNEL_MTU=1450
FLANNEL_IPMASQ=true
`;
const batches = 10;
const casesOfBatch = 470;
const processes = 300;

test('4,700 mutated calls in one process are refused in JSON or done, and leave nothing', async (t) => {
  t.timeout(300_000);
  t.log(`seed ${seed}: WEFT_FUZZ_SEED=${seed} repeats it`);
  const host = await makeHost(t);
  const netns = await host.addNetns('pod');
  await host.write('/run/flannel/subnet.env', subnetEnv);
  const before = await takeSnapshot(host);
  const worker = path.join(import.meta.dirname, 'harness/fuzz-worker.ts');
  let succeeded = 0;
  let slowestMs = 0;
  for (let batch = 0; batch < batches; batch++) {
    const range = [batch * casesOfBatch, (batch + 1) * casesOfBatch].map(String);
    const {stdout} = await host.run([process.execPath, worker, String(seed), ...range, pluginDir, netns], {
      timeoutMs: 120_000,
    });
    const report = JSON.parse(stdout) as FuzzReport;
    t.deepEqual(report.problems, []);
    succeeded += report.succeeded;
    slowestMs = Math.max(slowestMs, report.slowestMs);
    await assertNothingLeft(t, host, before, allowed);
  }
  const inside = await host.run(host.inNetns('pod', ['ip', '-o', 'link']));
  t.is(inside.stdout.trim().split('\n').length, 1);
  t.log(`${succeeded} succeeded; the slowest took ${slowestMs.toFixed(0)} ms`);
  t.true(succeeded > 100, 'most cases must not fail at the first check');
});

test('300 mutated calls of the executables are refused in JSON or done, and leave nothing', async (t) => {
  t.timeout(300_000);
  t.log(`seed ${seed}: WEFT_FUZZ_SEED=${seed} repeats it`);
  const host = await makeHost(t);
  const netns = await host.addNetns('pod');
  await host.write('/run/flannel/subnet.env', subnetEnv);
  const before = await takeSnapshot(host);
  for (let index = 0; index < processes; index++) {
    const fuzzCase = makeFuzzCase(makeRandom(seed + 1_000_000 + index), {path: pluginDir, netns});
    const run = ({plugin, env, stdin}: FuzzCase) =>
      host.run([path.join(pluginDir, plugin)], {env, stdin, mayFail: true, log: () => {}});
    const answer = await run(fuzzCase);
    t.is(judgeAnswer(answer), undefined, `case ${index}: ${JSON.stringify(fuzzCase)}`.slice(0, 4000));
    if (answer.code === 0 && fuzzCase.env['CNI_COMMAND'] === 'ADD')
      t.is((await run(delAfter(fuzzCase, answer.stdout))).code, 0);
  }
  await assertNothingLeft(t, host, before, allowed);
});
