import {addChain, delChain} from './harness/chain.ts';
import {listIfbs} from './harness/bandwidth.ts';
import {startContainerd} from './harness/containerd.ts';
import {ensurePackages} from './harness/debian.ts';
import {makeHost, type TestHost} from './harness/host.ts';
import {testWith} from './harness/needs.ts';
import {addOutside} from './harness/outside.ts';
import {pluginDir} from './harness/paths.ts';
import {setUpPodman} from './harness/podman.ts';
import {chainStays, podmansOwn} from './harness/podman-chain.ts';
import {ask, serve} from './harness/ports.ts';
import {assertNothingLeft, takeSnapshot} from './harness/snapshot.ts';

const test = testWith('root', 'apt');

/** flannel's own conflist for Kubernetes (its manifest), with bandwidth. */
const conflist = {
  cniVersion: '1.0.0',
  name: 'cbr0',
  plugins: [
    {type: 'flannel', delegate: {hairpinMode: true, isDefaultGateway: true}},
    {type: 'portmap', capabilities: {portMappings: true}},
    {type: 'bandwidth', capabilities: {bandwidth: true}},
  ],
};

async function makeNode(host: TestHost): Promise<void> {
  await host.write(
    '/run/flannel/subnet.env',
    `FLANNEL_NETWORK=10.244.0.0/16
FLANNEL_SUBNET=10.244.7.1/24
FLANNEL_IPV6_NETWORK=fd00:244::/48
FLANNEL_IPV6_SUBNET=fd00:244:0:7::1/64
FLANNEL_MTU=1430
FLANNEL_IPMASQ=true
`,
  );
  await host.write('/etc/cni/net.d/10-flannel.conflist', JSON.stringify(conflist));
}

const runtimesOwn = [
  ...chainStays,
  ...podmansOwn,
  /^file \/run\/(containerd|pause|xtables.lock)/,
  /^mount \S+ \/run\/netns tmpfs /,
  /^process \S*containerd /,
];

test.before(async () => {
  await ensurePackages('containerd');
  await ensurePackages('podman');
});

test('with portmap and bandwidth behind it', async (t) => {
  const host = await makeHost(t);
  await makeNode(host);
  const outside = await addOutside(host);
  const netns = await host.addNetns('pod');
  const before = await takeSnapshot(host);
  const rates = {
    ingressRate: 10_000_000,
    ingressBurst: 1_000_000,
    egressRate: 5_000_000,
    egressBurst: 500_000,
  };
  const call = {
    conflist,
    containerId: 'pod',
    netns,
    capabilityArgs: {portMappings: [{hostPort: 8080, containerPort: 80, protocol: 'tcp'}], bandwidth: rates},
  };
  const result = await addChain(host, call);
  const server = await serve(host, 'pod', 'web', 80);
  for (const [i, address] of outside.hostAddresses.entries())
    t.deepEqual(await ask(host, 'outside', {address, port: 8080}), [`web sees ${outside.addresses[i]}`]);
  t.is((await listIfbs(host)).length, 1);
  server.kill('SIGKILL');
  await delChain(host, call, result);
  await delChain(host, call, result);
  await assertNothingLeft(t, host, before, runtimesOwn);
});

test("containerd runs pods with it, and its STATUS is the node's", async (t) => {
  t.timeout(300_000);
  const host = await makeHost(t);
  await makeNode(host);
  const {cri} = await startContainerd(host, pluginDir);
  t.teardown(() => cri.close());
  const before = await takeSnapshot(host);
  const ids = [];
  for (const name of ['one', 'two']) ids.push(await cri.runSandbox({name, cgroup: host.cgroup}));
  for (const id of ids) {
    const {addresses} = await cri.sandboxStatus(id);
    t.regex(addresses.join(' '), /^10\.244\.7\.\d+ fd00:244:0:7::[\da-f]+$/);
    for (const address of addresses) await host.run(['ping', '-c', '1', '-W', '2', address]);
  }
  await host.sh('mv /run/flannel /run/flannel.away');
  const error = await t.throwsAsync(cri.runSandbox({name: 'three', cgroup: host.cgroup}));
  t.regex(error.message, /open \/run\/flannel\/subnet\.env: no such file or directory/);
  // Nobody needs the agent to take pods away.
  for (const id of ids) {
    await cri.stopSandbox(id);
    await cri.removeSandbox(id);
  }
  await host.sh('mv /run/flannel.away /run/flannel');
  await assertNothingLeft(t, host, before, runtimesOwn);
});

test('podman runs containers with it', async (t) => {
  t.timeout(300_000);
  const host = await makeHost(t);
  await makeNode(host);
  const podman = await setUpPodman(host, [pluginDir]);
  const before = await takeSnapshot(host);
  const flags = ['-d', ...podman.limits, '--network', 'cbr0'];
  for (const name of ['one', 'two'])
    await podman.run(['run', '--name', name, ...flags, 'busybox', '/bin/httpd', '-f', '-h', '/www']);
  const format = '{{(index .NetworkSettings.Networks "cbr0").IPAddress}}';
  const {stdout} = await podman.run(['inspect', 'one', '--format', format]);
  t.regex(stdout, /^10\.244\.7\.\d+\n$/);
  const fetched = await podman.run(['exec', 'two', 'wget', '-qO-', `http://${stdout.trim()}/`]);
  t.is(fetched.stdout, 'a page of weft\n');
  await podman.run(['rm', '--force', '--time', '0', 'one', 'two']);
  await assertNothingLeft(t, host, before, runtimesOwn);
});
