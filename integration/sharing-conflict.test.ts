import {weftOnHost} from './harness/agent.ts';
import {addNamed, makeCluster, resolves} from './harness/names-cluster.ts';
import {testWith} from './harness/needs.ts';
import {waitFor} from './harness/overlay-agent.ts';
import type {RigHost} from './harness/overlay-rig.ts';
import {ask, serve} from './harness/ports.ts';

const test = testWith('root');

interface Shown {
  readonly services: readonly {readonly name: string; readonly addresses: readonly string[]}[];
}

async function addressesAt({host}: RigHost): Promise<Record<string, string>> {
  const {stdout} = await host.run([weftOnHost, 'service', 'list', '--json']);
  const {services} = JSON.parse(stdout) as Shown;
  const sorted = services.toSorted((a, b) => a.name.localeCompare(b.name));
  return Object.fromEntries(sorted.map(({name, addresses}) => [name, addresses.join()]));
}

test('two hosts that cannot reach the store give two services one address: each has its own afterwards, on both', async (t) => {
  // Two addresses for two services: half of all names lead to the same one.
  const {etcd, hosts} = await makeCluster(t, {services: {ranges: ['10.96.0.0/30']}});
  const [h1, h2] = hosts;
  const at: Record<string, string> = {};
  for (const [host, name] of [
    [h1, 'one'],
    [h2, 'two'],
  ] as const) {
    at[name] = await addNamed(host, name);
    await serve(host.host, name, name, 8080);
  }
  await resolves(h1.host, 'one', 'two', [at['two']!]);
  // It does not answer, nor refuse: what is said meanwhile waits.
  etcd.members[0]!.pause();
  const expose = async ({host}: RigHost, service: string) =>
    (await host.run([weftOnHost, 'service', 'expose', service, '--port', '80:8080'])).stdout.trim();
  const first = await expose(h1, 'shop');
  let rival = '';
  for (let i = 0; rival === '' && i < 20; i++) {
    if ((await expose(h2, `rival-${i}`)) === first) rival = `rival-${i}`;
    else await h2.host.run([weftOnHost, 'service', 'hide', `rival-${i}`]);
  }
  t.not(rival, '');
  for (const [host, id, service] of [
    [h1, 'one', 'shop'],
    [h2, 'two', rival],
  ] as const) {
    const where = ['--id', id, '--address', at[id]!, '--port', '8080'];
    await host.host.run([weftOnHost, 'service', 'register', service, ...where]);
  }
  t.deepEqual([(await addressesAt(h1))['shop'], (await addressesAt(h2))[rival]], [first, first]);
  etcd.members[0]!.resume();
  let said: readonly Record<string, string>[] = [];
  await waitFor(
    'both hosts know both services at different addresses',
    async () => {
      said = await Promise.all([addressesAt(h1), addressesAt(h2)]);
      const [a, b] = said.map((each) => JSON.stringify(each));
      return a === b && Object.keys(said[0]!).length === 2 && said[0]!['shop'] !== said[0]![rival];
    },
    {explain: () => JSON.stringify(said), intervalMs: 100},
  );
  // Who was first keeps what it had.
  t.is(said[0]!['shop'], first);
  for (const [host, from] of [
    [h1, 'one'],
    [h2, 'two'],
  ] as const) {
    await resolves(host.host, from, `${rival}.default.svc`, [said[0]![rival]!]);
    await waitFor(
      `${from} reaches each service at its address`,
      async () => {
        const questions = ['shop', rival].map((name) => ({address: said[0]![name]!, port: 80}));
        const answers = await ask(host.host, from, ...questions);
        return answers[0]!.startsWith('one') && answers[1]!.startsWith('two');
      },
      {intervalMs: 100},
    );
  }
});
