import {once} from 'node:events';
import path from 'node:path';
import {setTimeout as sleep} from 'node:timers/promises';
import {startAgentOn, weftOnHost, type TestAgent} from './harness/agent.ts';
import {makeHost, type TestHost} from './harness/host.ts';
import {attachNamed, namedNetwork, writeResolvConf} from './harness/names.ts';
import {testWith} from './harness/needs.ts';
import {repository} from './harness/paths.ts';
import {ask, serve} from './harness/ports.ts';

const test = testWith('root');
const worker = path.join(repository, 'integration/harness/grpc-worker.ts');

const service = (host: TestHost, ...args: string[]) => host.run([weftOnHost, 'service', ...args]);

async function attachAll(host: TestHost, names: readonly string[]): Promise<Record<string, string>> {
  await host.write('/etc/cni/net.d/net1.conflist', namedNetwork('net1', {subnets: ['10.61.0.0/24']}));
  const at: Record<string, string> = {};
  for (const name of names) {
    await host.addNetns(name);
    const result = await attachNamed(host, 'net1', name);
    await writeResolvConf(host, name, result);
    at[name] = result.ips![0]!.address.split('/')[0]!;
  }
  return at;
}

async function figure(agent: TestAgent, name: string): Promise<number> {
  const {text} = await agent.get('/metrics');
  return Number(new RegExp(`^${name} (.*)$`, 'm').exec(text)?.[1]);
}

/** Tries until it holds, or gives what it was last. */
async function until<Value>(look: () => Promise<Value>, isRight: (value: Value) => boolean): Promise<Value> {
  for (const deadline = Date.now() + 40_000; ; await sleep(100)) {
    const value = await look();
    if (isRight(value) || Date.now() > deadline) return value;
  }
}

test('a gRPC service is called by its name through its address; the slow instance gets few calls, the sick one none', async (t) => {
  const host = await makeHost(t);
  await startAgentOn(host, {config: {services: {weightsMs: 200}}});
  const at = await attachAll(host, ['fast', 'slow', 'client']);
  for (const [name, delayMs] of [
    ['fast', 0],
    ['slow', 300],
  ] as const) {
    const argv = [process.execPath, '--no-warnings', worker, 'serve', name, '50051', String(delayMs)];
    const child = host.start(host.inNetns(name, argv));
    await once(child.stdout!, 'data');
    const where = ['--id', name, '--address', at[name]!, '--port', '50051'];
    const check = ['--check-grpc', `${at[name]}:50051`, '--interval', '200ms', '--timeout', '10s'];
    await service(host, 'register', 'shop', ...where, ...check);
  }
  await service(host, 'expose', 'shop', '--port', '80:50051', '--policy', 'leastLatency');
  const call = async (count: number) => {
    const argv = [process.execPath, '--no-warnings', worker, 'ask', 'shop.default.svc:80', String(count)];
    const {stdout} = await host.run(['ip', 'netns', 'exec', 'client', ...argv], {timeoutMs: 90_000});
    return JSON.parse(stdout) as Record<string, number>;
  };
  // Weights follow what the health checks measured: at least three to one, however busy the machine is.
  const counts = await until(
    () => call(20),
    ({fast = 0, slow = 0, ...errors}) => Object.keys(errors).length === 0 && fast >= 3 * slow,
  );
  t.true((counts['fast'] ?? 0) >= 15, JSON.stringify(counts));
  await host.run(['pkill', '-KILL', '-f', 'grpc-worker.ts serve fast']);
  t.deepEqual(
    await until(
      () => call(3),
      (found) => found['slow'] === 3,
    ),
    {slow: 3},
  );
});

test('what changes nothing writes no rules; a service takes so many connections, and no more', async (t) => {
  const host = await makeHost(t);
  const agent = await startAgentOn(host);
  const at = await attachAll(host, ['web', 'client']);
  await serve(host, 'web', 'web', 8080);
  const where = ['--address', at['web']!, '--port', '8080'];
  await service(host, 'register', 'shop', ...where, '--ttl', '300s');
  await service(host, 'pass', 'service:shop');
  const {stdout} = await service(host, 'expose', 'shop', '--port', '80:8080');
  const vip = stdout
    .split(' ')
    .find((each) => each.startsWith('10.96.'))!
    .trim();
  const count = async (questions: number) => {
    const answers = await ask(
      host,
      'client',
      ...Array.from({length: questions}, () => ({address: vip, port: 80})),
    );
    return answers.filter((each) => each.startsWith('web')).length;
  };
  t.is(
    await until(
      () => count(1),
      (found) => found === 1,
    ),
    1,
  );
  await sleep(200);
  const before = await figure(agent, 'weft_services_transactions');
  t.true(before > 0);
  for (let i = 0; i < 5; i++) {
    for (const word of ['warn', 'pass', 'pass'])
      await service(host, word, 'service:shop', '--note', `beat ${i}`);
  }
  await service(host, 'register', 'shop', ...where, '--ttl', '300s', '--tag', 'new');
  await sleep(300);
  t.is(await figure(agent, 'weft_services_transactions'), before);
  await service(host, 'fail', 'service:shop');
  t.is(
    await until(
      () => count(1),
      (found) => found === 0,
    ),
    0,
  );
  t.true((await figure(agent, 'weft_services_transactions')) <= before + 2);
  await service(host, 'pass', 'service:shop');
  await service(host, 'expose', 'shop', '--port', '80:8080', '--limit', '5');
  const through = await until(
    () => count(60),
    (found) => found > 0 && found < 60,
  );
  t.true(through >= 5 && through < 60, String(through));
});
