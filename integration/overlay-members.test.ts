import {testWith} from './harness/needs.ts';
import {waitFor} from './harness/overlay-agent.ts';
import {
  addPod,
  agentConfig,
  putNetwork,
  putPeer,
  startStore,
  storeMembership,
} from './harness/overlay-cluster.ts';
import {viewKernel} from './harness/overlay-kernel.ts';
import {makeRig} from './harness/overlay-rig.ts';
import {startWitness} from './harness/overlay-witness.ts';

const test = testWith('root', 'apt');

test('three members of etcd: the leader killed, each in turn frozen; no packet is lost, and what changes is known', async (t) => {
  const rig = await makeRig(t, {hosts: 2});
  const etcd = await startStore(rig, {members: 3});
  t.teardown(() => etcd.close());
  await putNetwork(etcd);
  const [h1, h2] = [rig.host('h1'), rig.host('h2')];
  const start = (host: typeof h1) =>
    host.startAgent(agentConfig(host.name, storeMembership(etcd, {leaseTtlS: 60})));
  const [agent] = await Promise.all([start(h1), start(h2)]);
  const kernel = viewKernel(h1.host);
  t.teardown(() => kernel.close());
  await kernel.untilTrue('the other host', (lines) => lines.some((line) => line.startsWith('route')), 20_000);
  const subnets = (await agent.status()).networks[0]!.subnets;
  const [from, to] = [await addPod(h1, 'pod'), await addPod(h2, 'pod')];
  const witness = await startWitness(
    {host: from.host.host, netns: 'pod'},
    {host: to.host.host, netns: 'pod', address: to.ipv4},
  );
  const change = async (index: number, what: string) => {
    const mac = `02:00:00:00:02:${index.toString(16)}`;
    // Who asks in the middle of an election is refused.
    const put = () =>
      putPeer(etcd, index, {mac}).then(
        () => true,
        () => false,
      );
    await waitFor('the store to take a record', put, {timeoutMs: 60_000, intervalMs: 100});
    const tookMs = await kernel.untilTrue(what, (lines) => lines.some((line) => line.includes(mac)), 30_000);
    t.log(`${what}: ${tookMs.toFixed(0)} ms after it was written`);
  };
  const leader = await etcd.leader();
  await leader.stop('SIGKILL');
  await change(150, 'a peer that came after the leader was killed');
  await leader.start();
  for (const [i, member] of etcd.members.entries()) {
    member.pause();
    await change(151 + i, `a peer that came while member ${i} was frozen`);
    member.resume();
  }
  await waitFor(
    'all to be well',
    async () => (await agent.status()).networks[0]!.membership.state === 'ready',
    {
      timeoutMs: 30_000,
    },
  );
  const report = await witness.report();
  t.is(report.lost, 0, JSON.stringify(report));
  t.is(report.tcp.closed, null);
  t.deepEqual((await agent.status()).networks[0]!.subnets, subnets);
  t.true(await agent.isReady());
});
