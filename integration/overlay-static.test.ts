import {setTimeout} from 'node:timers/promises';
import {pings} from './harness/attachment.ts';
import {testWith} from './harness/needs.ts';
import {addPod, startStatic} from './harness/overlay-cluster.ts';
import {makeRig} from './harness/overlay-rig.ts';
import {startWitness} from './harness/overlay-witness.ts';

const test = testWith('root');

test('three hosts and one behind a router: pods reach each other', async (t) => {
  const rig = await makeRig(t, {hosts: 3, far: true});
  const agents = await startStatic(rig);
  t.log(JSON.stringify(await agents.get('h1')!.status(), null, 1));
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
  t.log(JSON.stringify(await witness.report()));
  t.log(agents.get('h1')!.output());
});
