import path from 'node:path';
import {fetchByName, startPage} from './harness/names.ts';
import {addNamed, configOf, makeCluster, resolves} from './harness/names-cluster.ts';
import {testWith} from './harness/needs.ts';
import {waitFor} from './harness/overlay-agent.ts';
import {putNetwork} from './harness/overlay-cluster.ts';
import {pluginDir} from './harness/paths.ts';
import {ask, serve} from './harness/ports.ts';

const test = testWith('root');
const weft = path.join(pluginDir, 'weft');

test('service1 reaches service2 on another host by its name, and an etcd that is away takes nothing from them', async (t) => {
  const {rig, etcd, agents, hosts} = await makeCluster(t);
  const [h1, h2] = hosts;
  await addNamed(h1, 'service1');
  const two = await addNamed(h2, 'service2');
  await startPage(h2.host, 'service2', 8080);
  t.log(
    `a name of another host after ${(await resolves(h1.host, 'service1', 'service2', [two])).toFixed(0)} ms`,
  );
  t.regex(await fetchByName(h1.host, 'service1', 'http://service2:8080/hello'), /^page of service2/);
  const {stdout} = await etcd.ctl(['get', '--prefix', '/skydns/test/pods/service2/', '--print-value-only']);
  t.regex(stdout, new RegExp(`"host":"${two}".*"ttl":1`));

  await etcd.members[0]!.stop('SIGKILL');
  const three = await addNamed(h1, 'service3');
  await resolves(h1.host, 'service1', 'service3', [three]);
  await resolves(h1.host, 'service1', 'service2', [two]);
  // Longer than the lease, and one agent is started anew meanwhile: what it knew is kept.
  await agents[0]!.kill('KILL');
  await h1.startAgent(configOf(h1, etcd), {ready: false});
  await new Promise((resolve) => setTimeout(resolve, 4000));
  await resolves(h1.host, 'service1', 'service2', [two]);

  await etcd.members[0]!.start();
  t.log(`told after the outage: ${(await resolves(h2.host, 'service2', 'service3', [three])).toFixed(0)} ms`);
  await resolves(h1.host, 'service1', 'service2', [two]);
  // A host that is gone for longer than its lease takes its names along.
  await agents[1]!.kill('KILL');
  await resolves(h1.host, 'service1', 'service2', []);
  await h2.startAgent(configOf(h2, etcd), {ready: false});
  await resolves(h1.host, 'service1', 'service2', [two]);
  t.is(rig.hosts.length, 2);
});

test('a store that lost its data is told everything anew', async (t) => {
  const {etcd, hosts} = await makeCluster(t);
  const [h1, h2] = hosts;
  await addNamed(h1, 'service1');
  const two = await addNamed(h2, 'service2');
  await resolves(h1.host, 'service1', 'service2', [two]);
  await etcd.members[0]!.wipe();
  await etcd.members[0]!.start();
  await putNetwork(etcd);
  await waitFor(
    'the records are back',
    async () => (await etcd.ctl(['get', '--prefix', '/skydns/test/pods/service2/'])).stdout.includes(two),
    {intervalMs: 100},
  );
  await resolves(h1.host, 'service1', 'service2', [two]);
  t.pass();
});

test('an address of a service leads to instances on every host; the one that fails is left out everywhere', async (t) => {
  const {hosts} = await makeCluster(t);
  const [h1, h2] = hosts;
  await addNamed(h1, 'client');
  for (const [host, name] of [
    [h1, 'a'],
    [h2, 'b'],
  ] as const) {
    const address = await addNamed(host, name);
    await serve(host.host, name, name, 8080);
    const check = ['--check-tcp', `${address}:8080`, '--interval', '200ms', '--timeout', '1s'];
    await host.host.run([
      weft,
      'service',
      'register',
      'shop',
      '--id',
      name,
      '--address',
      address,
      '--port',
      '8080',
      ...check,
    ]);
  }
  const {stdout} = await h2.host.run([weft, 'service', 'expose', 'shop', '--port', '80:8080']);
  const vip = stdout
    .split(' ')
    .find((each) => each.startsWith('10.96.'))!
    .trim();
  const answering = async () => {
    const questions = Array.from({length: 8}, () => ({address: vip, port: 80}));
    const answers = await ask(h1.host, 'client', ...questions);
    return [...new Set(answers.map((each) => each.split(' ')[0]!))].toSorted().join(' ');
  };
  let last = '';
  const until = (expected: string) =>
    waitFor(`${expected} answer`, async () => (last = await answering()) === expected, {
      explain: () => last,
      intervalMs: 50,
    });
  await until('a b');
  await resolves(h1.host, 'client', 'shop.default.svc', [vip]);
  await h2.host.run(['pkill', '-KILL', '-f', 'port-worker.ts serve b ']);
  t.log(`a failed instance on another host is left out after ${(await until('a')).toFixed(0)} ms`);
  await serve(h2.host, 'b', 'b', 8080);
  await until('a b');
  t.pass();
});

test('a host that is cut off from the store is forgotten elsewhere and known again, and forgets nothing itself', async (t) => {
  const {hosts} = await makeCluster(t);
  const [h1, h2] = hosts;
  const one = await addNamed(h1, 'service1');
  const two = await addNamed(h2, 'service2');
  await resolves(h1.host, 'service1', 'service2', [two]);
  await resolves(h2.host, 'service2', 'service1', [one]);
  // Packets to etcd alone; the overlay goes on.
  await h2.host.sh(
    'nft "add table inet cut; add chain inet cut out { type filter hook output priority 0; }; add rule inet cut out tcp dport 2379 drop"',
  );
  t.log(`forgotten after ${(await resolves(h1.host, 'service1', 'service2', [])).toFixed(0)} ms`);
  await resolves(h2.host, 'service2', 'service1', [one]);
  const three = await addNamed(h2, 'service3');
  await resolves(h2.host, 'service2', 'service3', [three]);
  await h2.host.run(['nft', 'delete', 'table', 'inet', 'cut']);
  t.log(`known again after ${(await resolves(h1.host, 'service1', 'service2', [two])).toFixed(0)} ms`);
  await resolves(h1.host, 'service1', 'service3', [three]);
  await resolves(h2.host, 'service2', 'service1', [one]);
  t.pass();
});
