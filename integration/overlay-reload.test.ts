import {testWith} from './harness/needs.ts';
import {waitFor} from './harness/overlay-agent.ts';
import {agentConfig, staticFile, staticNode, writeStatic} from './harness/overlay-cluster.ts';
import {viewKernel} from './harness/overlay-kernel.ts';
import {makeRig} from './harness/overlay-rig.ts';

const test = testWith('root');

test('SIGHUP with a membership that can never work: the network that is there goes on', async (t) => {
  const rig = await makeRig(t, {hosts: 1});
  const h1 = rig.host('h1');
  await writeStatic(h1, [
    staticNode(h1, 1),
    {name: 'h2', publicIP: '192.168.50.12', subnets: ['10.244.2.0/24']},
  ]);
  const config = agentConfig('h1', {type: 'static', file: staticFile});
  const agent = await h1.startAgent(config);
  const kernel = viewKernel(h1.host);
  t.teardown(() => kernel.close());
  const good = await kernel.lines();
  const reload = async (next: object) => {
    await h1.host.write('/etc/weft/agent.json', JSON.stringify(next));
    await agent.kill('HUP');
  };
  const etcd = {type: 'etcd', endpoints: ['http://192.168.50.2:2379']};
  const wrong = [
    {membership: {...etcd, user: 'weft'}, says: /user and passwordFile belong together/},
    {membership: {type: 'kubernetes', network: '10.244.0.0/16'}, says: /KUBERNETES_SERVICE_HOST is not set/},
  ];
  for (const {membership, says} of wrong) {
    await reload(agentConfig('h1', membership));
    await waitFor('the error', () => says.test(agent.output()), {timeoutMs: 20_000});
    t.like((await agent.status()).networks[0], {name: 'pods', ready: true});
  }
  // It is not only shown: it works.
  await h1.host.run(['ip', 'link', 'del', 'flannel.1']);
  await kernel.until(good, 10_000);
  // What can work is taken afterwards.
  await reload(agentConfig('h1', {type: 'static', file: staticFile}, {network: {mtu: 1300}}));
  await kernel.untilTrue(
    'the MTU',
    (lines) => lines.some((line) => /^link flannel\.1 .* mtu 1300 /.test(line)),
    10_000,
  );
});
