import type {ChildProcess} from 'node:child_process';
import {once} from 'node:events';
import path from 'node:path';
import {setTimeout as sleep} from 'node:timers/promises';
import {startAgentOn} from './harness/agent.ts';
import {makeHost, type TestHost} from './harness/host.ts';
import {askDns, attachNamed, dataOf, namedNetwork} from './harness/names.ts';
import {testWith} from './harness/needs.ts';
import {repository} from './harness/paths.ts';
import {chooseSeed} from './harness/random.ts';

const test = testWith('root');
const server = '10.61.0.1';
const worker = path.join(repository, 'integration/harness/names-worker.ts');

const argvOf = (host: TestHost, from: string, args: readonly (string | number)[]) =>
  host.inNetns(from, [process.execPath, '--no-warnings', worker, ...args.map(String)]);

async function tryPatience<Said>(host: TestHost, ...args: readonly (string | number)[]): Promise<Said> {
  const {stdout} = await host.run(argvOf(host, 'client', args), {timeoutMs: 100_000});
  return JSON.parse(stdout) as Said;
}

/** Asks without a pause until it is told to end; then it says what became of the questions. */
async function startLoad(host: TestHost, names: readonly string[]) {
  const child: ChildProcess = host.start(argvOf(host, 'client', ['load', server, ...names]), {stdin: 'pipe'});
  let said = '';
  child.stdout!.on('data', (chunk: Buffer) => (said += chunk.toString()));
  await once(child.stdout!, 'data');
  return async () => {
    child.stdin!.end();
    await once(child, 'close');
    return JSON.parse(said.replace('ready\n', '')) as Record<string, number>;
  };
}

async function makeNamed(host: TestHost): Promise<void> {
  await host.write('/etc/cni/net.d/net1.conflist', namedNetwork('net1', {subnets: ['10.61.0.0/24']}));
  await host.addNetns('client');
  await host.addNetns('web');
}

const unlimited = {names: {rateLimit: {perSecond: 1_000_000, burst: 1_000_000}}};

test('no question is lost while names come and go, the configuration is read again, and agents replace each other', async (t) => {
  const host = await makeHost(t);
  await makeNamed(host);
  let agent = await startAgentOn(host, {config: unlimited});
  for (const name of ['client', 'web']) await attachNamed(host, 'net1', name);
  await host.run([
    '/opt/cni/bin/weft',
    'service',
    'register',
    'shop',
    '--address',
    '10.61.0.3',
    '--port',
    '80',
  ]);
  const finish = await startLoad(host, ['web', 'web.net1.weft.internal', 'shop.default.svc']);
  await host.sh(
    `cd /run/weft/discovery/net1
     for i in $(seq 300); do
       sed 's/"containerId":"[^"]*"/"containerId":"other"/; s/"names":\\["[^"]*"\\]/"names":["other"]/' "$(ls | head -n 1)" > .other
       mv .other other:eth0.json; rm other:eth0.json
     done`,
    {timeoutMs: 60_000},
  );
  for (const burst of [2_000_000, 3_000_000]) {
    const names = {rateLimit: {perSecond: 1_000_000, burst}};
    await host.write('/etc/weft/agent.json', JSON.stringify({names}));
    await host.run(['kill', '-HUP', String(agent.pid)]);
    await sleep(200);
  }
  for (let upgrade = 0; upgrade < 3; upgrade++) {
    const before = agent;
    agent = await startAgentOn(host, {config: unlimited});
    t.is(await before.ended, 0);
  }
  const {['0']: answered = 0, ...others} = await finish();
  t.log(`${answered} questions answered`);
  t.deepEqual(others, {});
  t.true(answered > 1000, String(answered));
});

test('broken messages, resets and slow clients do no harm', async (t) => {
  const host = await makeHost(t);
  await makeNamed(host);
  const agent = await startAgentOn(host, {config: unlimited});
  for (const name of ['client', 'web']) await attachNamed(host, 'net1', name);
  const seed = chooseSeed();
  t.log(`WEFT_FUZZ_SEED=${seed}`);
  const fuzzed = await tryPatience(host, 'fuzz', server, 'web', seed, 4000);
  t.deepEqual(fuzzed, {seed, answered: 40, missed: 0});
  // More connections than one client may have; half of them say half a question.
  const slow = await tryPatience<{udp: number; closed: number}>(host, 'slow', server, 'web', 60);
  t.like(slow, {udp: 0, closed: 60});
  const [tcp] = await askDns(host, 'client', [{server, name: 'web', transport: 'tcp'}]);
  t.deepEqual(dataOf(tcp!), ['10.61.0.3']);
  t.is((JSON.parse((await agent.get('/status')).text) as {pid: number}).pid, agent.pid);
  // At rest it does nothing: no socket is read in a circle.
  const ticks = async () => {
    const fields = (await host.read(`/proc/${agent.pid}/stat`)).replace(/^.*\) /s, '').split(' ');
    return Number(fields[11]) + Number(fields[12]);
  };
  await sleep(500);
  const before = await ticks();
  await sleep(2000);
  t.true((await ticks()) - before < 100, 'the agent works though nobody asks');
});

test('one container that asks too much is refused, others are not', async (t) => {
  const host = await makeHost(t);
  await makeNamed(host);
  await startAgentOn(host, {config: {names: {rateLimit: {perSecond: 10, burst: 50}}}});
  for (const name of ['client', 'web']) await attachNamed(host, 'net1', name);
  const codes = await tryPatience<Record<string, number>>(host, 'flood', server, 'web', 500);
  t.true((codes['0'] ?? 0) >= 50 && (codes['5'] ?? 0) >= 300, JSON.stringify(codes));
  const [other] = await askDns(host, 'web', [{server, name: 'client'}]);
  t.deepEqual(dataOf(other!), ['10.61.0.2']);
});
