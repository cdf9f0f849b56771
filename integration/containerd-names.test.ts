import {readFile} from 'node:fs/promises';
import path from 'node:path';
import {startAgentOn} from './harness/agent.ts';
import {startContainerd} from './harness/containerd.ts';
import {ensurePackages} from './harness/debian.ts';
import {makeHost} from './harness/host.ts';
import {askDns, dataOf} from './harness/names.ts';
import {testWith} from './harness/needs.ts';
import {pluginDir, repository} from './harness/paths.ts';

const test = testWith('root', 'apt');

test.before(async () => {
  await ensurePackages('containerd');
});

test('pods of containerd, whose runtime knows nothing of our server, find each other by name', async (t) => {
  t.timeout(300_000);
  const host = await makeHost(t);
  const text = await readFile(path.join(repository, 'conf/kubernetes.conflist'), 'utf8');
  const conflist = JSON.parse(text) as {plugins: object[]};
  const names = {
    type: 'discovery',
    domainName: 'pods.test',
    intercept: true,
    capabilities: {'io.kubernetes.cri.pod-annotations': true},
  };
  const plugins = [...conflist.plugins, names];
  await host.write('/etc/cni/net.d/10-weft.conflist', JSON.stringify({...conflist, plugins}));
  await startAgentOn(host);
  const {cri} = await startContainerd(host, pluginDir);
  t.teardown(() => cri.close());
  t.deepEqual(await cri.complaints(), []);
  const listNetns = async () =>
    (await host.run(['ls', '/run/netns'])).stdout.split('\n').filter((each) => each.startsWith('cni-'));
  await cri.runSandbox({name: 'client', cgroup: host.cgroup});
  const [client = ''] = await listNetns();
  const annotations = {'weft.dev/aliases': 'shop, api'};
  const web = await cri.runSandbox({name: 'web', cgroup: host.cgroup, annotations});
  const {addresses} = await cri.sandboxStatus(web);
  // Whatever server its resolv.conf names, which is the kubelet's affair.
  const server = '192.0.2.53';
  for (const name of ['web', 'web.default', 'shop', 'api.pods.test']) {
    for (const transport of ['udp', 'tcp'] as const) {
      const [found] = await askDns(host, client, [{server, name, transport}]);
      t.deepEqual(dataOf(found!), [addresses[0]!], `${name} over ${transport}`);
    }
  }
  await cri.stopSandbox(web);
  await cri.removeSandbox(web);
  const [gone] = await askDns(host, client, [{server, name: 'web.pods.test'}]);
  t.is(gone!.rcode, 'NXDOMAIN');
});
