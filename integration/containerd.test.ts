import {readFile} from 'node:fs/promises';
import path from 'node:path';
import {ensurePackages} from './harness/debian.ts';
import {startContainerd} from './harness/containerd.ts';
import {makeHost, type TestHost} from './harness/host.ts';
import {testWith} from './harness/needs.ts';
import {pluginDir, repository} from './harness/paths.ts';
import {assertNothingLeft, staysByDesign, takeSnapshot} from './harness/snapshot.ts';

const test = testWith('root', 'apt');

/** What containerd itself keeps while it runs: its state, its sockets. */
const containerdsOwn = [
  ...staysByDesign,
  /^file \/run\/(containerd|pause|xtables.lock)/,
  /^mount \S+ \/run\/netns tmpfs /,
  /^process \S*containerd /,
];

async function putConflist(host: TestHost): Promise<void> {
  const conflist = await readFile(path.join(repository, 'conf/kubernetes.conflist'), 'utf8');
  await host.write('/etc/cni/net.d/10-weft.conflist', conflist);
}

test.before(async () => {
  await ensurePackages('containerd');
});

test('containerd makes a pod sandbox with our plugins and removes it', async (t) => {
  const host = await makeHost(t);
  await putConflist(host);
  const {cri} = await startContainerd(host, pluginDir);
  t.teardown(() => cri.close());
  t.deepEqual(await cri.complaints(), []);
  const before = await takeSnapshot(host);
  const id = await cri.runSandbox({name: 'web', cgroup: host.cgroup});
  const {addresses} = await cri.sandboxStatus(id);
  t.regex(addresses.join(' '), /^10\.244\.0\.\d+$/);
  await host.run(['ping', '-c', '1', '-W', '2', addresses[0]!]);
  await cri.stopSandbox(id);
  await cri.removeSandbox(id);
  await assertNothingLeft(t, host, before, containerdsOwn);
});

test('what a killed containerd leaves is collected by GC', async (t) => {
  const host = await makeHost(t);
  await putConflist(host);
  const before = await takeSnapshot(host);
  const containerd = await startContainerd(host, pluginDir);
  await containerd.cri.runSandbox({name: 'lost', cgroup: host.cgroup});
  await containerd.kill();
  // The node's processes and mounts go with a reboot; the state on disk and in the kernel is what GC is for.
  await host.sh(`
    kill -9 $(pidof -s containerd-shim-runc-v2 sleep) || true
    grep -o '/run/\\(netns\\|containerd\\)/[^ ]*' /proc/self/mounts | sort -r | while read -r mount; do umount -l "$mount"; done
  `);
  await host.run([path.join(pluginDir, 'cnitool'), 'gc', 'weft-kubernetes', ''], {
    env: {CNI_PATH: pluginDir, NETCONFPATH: '/etc/cni/net.d'},
  });
  // What remains is containerd's: the file it mounted the namespace on, and its cache of a network of its own, which
  // no file in /etc/cni/net.d describes.
  const runtimes = [/^process /, /^file \/run\/netns\/cni-/, /^file \S+\/results\/cni-loopback-/];
  await assertNothingLeft(t, host, before, [...containerdsOwn, ...runtimes]);
});
