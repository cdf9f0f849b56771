import {once} from 'node:events';
import {setTimeout as sleep} from 'node:timers/promises';
import {startAgentOn, weftOnHost} from './harness/agent.ts';
import {makeHost, type TestHost} from './harness/host.ts';
import {attachNamed, namedNetwork} from './harness/names.ts';
import {testWith} from './harness/needs.ts';
import {ask, serve} from './harness/ports.ts';

const test = testWith('root');
const service = async (host: TestHost, ...args: string[]) =>
  (await host.run([weftOnHost, 'service', ...args])).stdout.trim();

test('an agent that is killed between writes loses nothing that it said yes to', async (t) => {
  const host = await makeHost(t);
  const agent = await startAgentOn(host);
  // Each line of /run/acknowledged is an instance whose registration was answered with 200.
  const writer = host.start([
    '/bin/sh',
    '-c',
    `i=0; while i=$((i + 1)); do
       curl -sSf -X PUT --unix-socket /run/weft/registry.sock -d '{"ID":"i-'$i'","Name":"shop","Address":"192.0.2.5","Port":80}' \\
         http://weft/v1/agent/service/register || break
       echo i-$i >> /run/acknowledged
     done`,
  ]);
  const ended = once(writer, 'close');
  const count = async () => (await host.sh('cat /run/acknowledged 2>/dev/null | wc -l')).stdout;
  while (Number(await count()) < 30) await sleep(10);
  await agent.stop('KILL');
  await ended;
  await startAgentOn(host);
  const said = (await host.read('/run/acknowledged')).trim().split('\n');
  const {stdout} = await host.run([
    'curl',
    '-sf',
    '--unix-socket',
    '/run/weft/registry.sock',
    'http://weft/v1/agent/services',
  ]);
  const found = Object.keys(JSON.parse(stdout) as object);
  t.deepEqual(
    said.filter((id) => !found.includes(id)),
    [],
  );
  // At most the one whose answer was under way is there beyond them.
  t.true(found.length <= said.length + 1);
  const {stdout: left} = await host.sh('find /var/lib/weft/registry -name ".*.json"');
  t.true(left.trim().split('\n').length <= 1);
});

test('connections go on while the agent is killed and replaced; health that was known stays known', async (t) => {
  const host = await makeHost(t);
  await host.write('/etc/cni/net.d/net1.conflist', namedNetwork('net1', {subnets: ['10.61.0.0/24']}));
  let agent = await startAgentOn(host);
  for (const [name, check] of [
    ['a', ['--ttl', '300s']],
    ['b', ['--check-tcp', '10.61.0.3:8080', '--interval', '5s']],
    ['client', []],
  ] as const) {
    await host.addNetns(name);
    await attachNamed(host, 'net1', name);
    if (name === 'client') continue;
    await serve(host, name, name, 8080);
    const address = name === 'a' ? '10.61.0.2' : '10.61.0.3';
    await service(host, 'register', 'shop', '--id', name, '--address', address, '--port', '8080', ...check);
  }
  await service(host, 'pass', 'service:a');
  const addresses = await service(host, 'expose', 'shop', '--port', '80:8080');
  const vip = addresses.split(' ').find((each) => each.startsWith('10.96.'))!;
  const connect = async (times: number) => {
    const answers = await ask(
      host,
      'client',
      ...Array.from({length: times}, () => ({address: vip, port: 80})),
    );
    return answers.map((each) => each.split(' ')[0]!);
  };
  const both = (answers: readonly string[]) => answers.includes('a') && answers.includes('b');
  for (
    const deadline = Date.now() + 20_000;
    !both(await connect(4)) && Date.now() < deadline;
    await sleep(50)
  );
  let isOver = false;
  const seen = new Map<string, number>();
  const load = (async () => {
    while (!isOver) for (const each of await connect(20)) seen.set(each, (seen.get(each) ?? 0) + 1);
  })();
  await agent.stop('KILL');
  agent = await startAgentOn(host);
  const before = agent;
  agent = await startAgentOn(host);
  t.is(await before.ended, 0);
  isOver = true;
  await load;
  t.deepEqual([...seen.keys()].toSorted(), ['a', 'b'], JSON.stringify([...seen]));
  // The heartbeat of before counts, and nobody had to send another.
  t.regex(await service(host, 'list'), /a +\S+ +10\.61\.0\.2:8080 +passing/);
  await service(host, 'fail', 'service:a');
  await agent.stop('KILL');
  await startAgentOn(host);
  t.regex(await service(host, 'list'), /a +\S+ +10\.61\.0\.2:8080 +critical/);
});

test('watch tells of every change, and who is critical for too long is forgotten', async (t) => {
  const host = await makeHost(t);
  await startAgentOn(host, {config: {registry: {reapMs: 100}}});
  const watching = host.start([weftOnHost, 'service', 'watch']);
  let said = '';
  watching.stdout!.on('data', (chunk: Buffer) => (said += chunk.toString()));
  const says = async (text: RegExp) => {
    for (const deadline = Date.now() + 30_000; !text.test(said); await sleep(20)) {
      if (Date.now() > deadline) throw new Error(`watch did not say ${String(text)}:\n${said}`);
    }
    said = '';
  };
  await says(/there is no service/);
  await service(
    host,
    'register',
    'shop',
    '--id',
    'one',
    '--address',
    '192.0.2.5',
    '--port',
    '80',
    '--ttl',
    '1s',
    '--deregister-after',
    '1s',
  );
  await says(/default\/shop .* one .* 192\.0\.2\.5:80 +critical/);
  await service(host, 'pass', 'service:one');
  await says(/one .* passing/);
  // No heartbeat follows.
  await says(/one .* critical/);
  await says(/there is no service/);
  watching.kill('SIGKILL');
  t.is((await host.sh('ls /var/lib/weft/registry/instances')).stdout, '');
});

test('one of three replicas is killed under load: errors only until its check fails', async (t) => {
  const host = await makeHost(t);
  await host.write('/etc/cni/net.d/net1.conflist', namedNetwork('net1', {subnets: ['10.61.0.0/24']}));
  await startAgentOn(host);
  const names = ['a', 'b', 'c', 'client'];
  for (const [i, name] of names.entries()) {
    await host.addNetns(name);
    await attachNamed(host, 'net1', name);
    if (name === 'client') continue;
    await serve(host, name, name, 8080);
    const address = `10.61.0.${i + 2}`;
    const check = ['--check-tcp', `${address}:8080`, '--interval', '300ms', '--timeout', '10s'];
    await service(host, 'register', 'shop', '--id', name, '--address', address, '--port', '8080', ...check);
  }
  const addresses = await service(host, 'expose', 'shop', '--port', '80:8080');
  const vip = addresses.split(' ').find((each) => each.startsWith('10.96.'))!;
  const connect = async () => {
    const answers = await ask(host, 'client', ...Array.from({length: 12}, () => ({address: vip, port: 80})));
    return answers.map((each) => each.split(' ')[0]!);
  };
  const seen = (answers: readonly string[]) => [...new Set(answers)].toSorted().join(' ');
  for (
    const deadline = Date.now() + 20_000;
    seen(await connect()) !== 'a b c' && Date.now() < deadline;
    await sleep(50)
  );
  const batches: {readonly startedMs: number; readonly answers: readonly string[]}[] = [];
  let isOver = false;
  const load = (async () => {
    while (!isOver) batches.push({startedMs: performance.now(), answers: await connect()});
  })();
  const untilAsked = async (times: number, sinceMs: number) => {
    const asked = () => batches.filter(({startedMs}) => startedMs > sinceMs).length;
    for (const deadline = Date.now() + 60_000; asked() < times && Date.now() < deadline; await sleep(20));
    t.true(asked() >= times, `asked ${asked()} times`);
  };
  await untilAsked(3, 0);
  const killedMs = performance.now();
  await host.run(['pkill', '-KILL', '-f', 'port-worker.ts serve b ']);
  while (!/ b .* critical/.test(await service(host, 'list'))) await sleep(20);
  // Rules follow within the time that changes are gathered; a busy machine gets more.
  await sleep(500);
  const knownMs = performance.now();
  await untilAsked(5, knownMs);
  isOver = true;
  await load;
  const outside = batches.filter(({startedMs}, i) => {
    const endedMs = batches[i + 1]?.startedMs ?? Infinity;
    return endedMs < killedMs || startedMs > knownMs;
  });
  const errors = outside.flatMap(({answers}) => answers.filter((each) => !['a', 'b', 'c'].includes(each)));
  t.deepEqual(errors, []);
  t.is(seen(outside.at(-1)!.answers), 'a c');
});
