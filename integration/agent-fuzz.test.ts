import {readFileSync} from 'node:fs';
import path from 'node:path';
import {startAgentOn} from './harness/agent.ts';
import type {AgentFuzzReport} from './harness/agent-fuzz-worker.ts';
import {makeHost} from './harness/host.ts';
import {testWith} from './harness/needs.ts';
import {binDir, installMode} from './harness/both-modes.ts';
import {chooseSeed} from './harness/random.ts';
import {assertNothingLeft, takeSnapshot} from './harness/snapshot.ts';

const test = testWith('root', 'apt', 'cc');

const seed = chooseSeed();
const connections = 3000;

test('3,000 odd connections do an agent no harm', async (t) => {
  t.timeout(300_000);
  t.log(`seed ${seed}: WEFT_FUZZ_SEED=${seed} repeats it`);
  const folder = await installMode('clients');
  const host = await makeHost(t, {plugins: folder, agent: false});
  const agent = await startAgentOn(host, {weft: `${binDir}/weft`});
  await host.addNetns('pod');
  const before = await takeSnapshot(host);
  const release = readFileSync(path.join(folder, 'bridge'), 'latin1').match(/# weft \S+ [0-9a-f]{16}\n$/)![0];
  const worker = path.join(import.meta.dirname, 'harness/agent-fuzz-worker.ts');
  const {stdout} = await host.run(
    [process.execPath, worker, String(seed), String(connections), '/run/weft/cni.sock', release],
    {timeoutMs: 240_000},
  );
  const {answers, problems} = JSON.parse(stdout) as AgentFuzzReport;
  t.log(answers);
  t.deepEqual(problems, []);
  for (const outcome of ['5', 'ready, 4', 'end'])
    t.true((answers[outcome] ?? 0) > 50, `${outcome} must be seen`);

  // Nothing is kept of them: not a connection, not a file, and no memory to speak of.
  const {stdout: open} = await host.run([
    'sh',
    '-c',
    `ls /proc/${agent.pid}/fd | wc -l; grep VmRSS /proc/${agent.pid}/status`,
  ]);
  const [descriptors = '', memory = ''] = open.split('\n');
  t.true(Number(descriptors) < 60, `${descriptors} descriptors are open`);
  t.true(Number(/\d+/.exec(memory)?.[0]) < 300_000, memory);
  await assertNothingLeft(t, host, before);
  t.is(await agent.stop(), 0);
});
