import {setTimeout} from 'node:timers/promises';
import {pings} from './harness/attachment.ts';
import {testWith} from './harness/needs.ts';
import {waitFor} from './harness/overlay-agent.ts';
import {
  addPod,
  agentConfig,
  startStatic,
  staticFile,
  writeStatic,
  type Pod,
} from './harness/overlay-cluster.ts';
import {makeRig} from './harness/overlay-rig.ts';
import {startWitness} from './harness/overlay-witness.ts';

const test = testWith('root');

test('three hosts and one behind a router: pods reach each other', async (t) => {
  const rig = await makeRig(t, {hosts: 3, far: true});
  const agents = await startStatic(rig);
  const pods = await Promise.all(rig.hosts.map((host) => addPod(host, 'pod')));
  for (const from of pods)
    for (const to of pods)
      if (from !== to)
        for (const address of [to.ipv4, to.ipv6])
          t.true(
            await pings(from.host.host, 'pod', address),
            `${from.host.name} to ${address} of ${to.host.name}`,
          );
  const witness = await startWitness(
    {host: pods[0]!.host.host, netns: 'pod'},
    {host: pods[1]!.host.host, netns: 'pod', address: pods[1]!.ipv4},
  );
  await setTimeout(500);
  const report = await witness.report();
  t.is(report.lost, 0, JSON.stringify(report));
  const [network] = (await agents.get('h1')!.status()).networks;
  t.deepEqual(network?.differs, []);
  t.is(network?.peers.filter(({state}) => state === 'programmed').length, 3);
});

test('a segment over a list of hosts: nobody can tell of containers, so hosts ask and learn', async (t) => {
  const rig = await makeRig(t, {hosts: 2});
  const nodes = rig.hosts.map((host, index) => ({
    name: host.name,
    publicIP: host.ipv4,
    subnets: [`10.246.${index + 1}.0/24`],
  }));
  for (const host of rig.hosts) {
    await writeStatic(host, nodes, {network: '10.246.0.0/16', vni: 5, form: 'l2'});
    await host.startAgent(
      agentConfig(host.name, {type: 'static', file: staticFile}, {network: {form: 'l2'}}),
    );
  }
  const [one, two] = (await Promise.all(rig.hosts.map((host) => addPod(host, 'pod')))) as [Pod, Pod];
  t.true(one.ipv4.startsWith('10.246.1.') && two.ipv4.startsWith('10.246.2.'));
  await waitFor('an answer', () => pings(one.host.host, 'pod', two.ipv4), {timeoutMs: 20_000});
  t.true(await pings(two.host.host, 'pod', one.ipv4));
});
