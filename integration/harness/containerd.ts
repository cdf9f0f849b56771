import {once} from 'node:events';
import path from 'node:path';
import {setTimeout} from 'node:timers/promises';
import type {ChildProcess} from 'node:child_process';
import {binOf, ensurePackages} from './debian.ts';
import {connectCri, type Cri} from './cri.ts';
import type {TestHost} from './host.ts';
import {writeBusyboxImage} from './image.ts';

/** A containerd of a test host, and its CRI. */
export interface Containerd {
  readonly cri: Cri;
  /** Ends it with SIGKILL, as the kernel would; its shims and sandboxes live on. */
  kill(): Promise<void>;
}

const sandboxImage = 'localhost/pause:1';

/** Starts containerd with these plugins; conflists are read from the host's /etc/cni/net.d. */
export async function startContainerd(host: TestHost, plugins: string): Promise<Containerd> {
  await ensurePackages('containerd');
  const bin = binOf('containerd');
  const socket = '/run/containerd/containerd.sock';
  await host.write('/etc/containerd/config.toml', formatConfig(plugins, path.join(bin, 'runc'), socket));
  const env = {PATH: `${bin}:${binOf('tools')}:/usr/sbin:/usr/bin:/sbin:/bin`};
  const daemon = host.start(
    [
      '/bin/sh',
      '-c',
      'echo $$ > /run/containerd.pid; exec "$@"',
      'containerd',
      path.join(bin, 'containerd'),
      '--config',
      '/etc/containerd/config.toml',
    ],
    {env},
  );
  await writeBusyboxImage(host, '/run/pause.tar', sandboxImage);
  const ctr = [path.join(bin, 'ctr'), '--address', socket, '--namespace', 'k8s.io'];
  await untilAnswers(host, [...ctr, 'version'], daemon);
  await host.run([...ctr, 'images', 'import', '--snapshotter', 'native', '/run/pause.tar'], {
    timeoutMs: 30_000,
  });
  const cri = connectCri(host.path(socket));
  return {
    cri,
    async kill() {
      cri.close();
      await host.sh('kill -9 $(cat /run/containerd.pid)');
      await once(daemon, 'close');
    },
  };
}

async function untilAnswers(host: TestHost, argv: readonly string[], daemon: ChildProcess): Promise<void> {
  for (const deadline = Date.now() + 20_000; Date.now() < deadline; await setTimeout(100)) {
    if (daemon.exitCode !== null) throw new Error(`containerd ended with ${daemon.exitCode}`);
    const {code} = await host.run(argv, {mayFail: true, log: () => {}});
    if (code === 0) return;
  }
  throw new Error('containerd did not answer within 20 s');
}

function formatConfig(plugins: string, runc: string, socket: string): string {
  return `version = 2
root = "/var/lib/containerd"
state = "/run/containerd"
disabled_plugins = ["io.containerd.snapshotter.v1.aufs", "io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.devmapper", "io.containerd.snapshotter.v1.zfs"]
[grpc]
  address = "${socket}"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "${sandboxImage}"
  restrict_oom_score_adj = true
  disable_tcp_service = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "${plugins}"
    conf_dir = "/etc/cni/net.d"
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "native"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
      [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
        BinaryName = "${runc}"
`;
}
