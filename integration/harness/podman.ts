import path from 'node:path';
import {binOf, ensurePackages} from './debian.ts';
import type {CommandOptions, Output} from './command.ts';
import type {TestHost} from './host.ts';
import {writeBusyboxTree} from './image.ts';

/** A podman of a test host: its own storage, its CNI backend, an image `busybox`. */
export interface Podman {
  run(argv: readonly string[], options?: CommandOptions): Promise<Output>;
  /** Flags for `podman run`: limits for a machine without CAP_SYS_RESOURCE, control groups of the host's own. */
  readonly limits: readonly string[];
}

/** Sets podman up with these plugin directories; conflists are read from the host's /etc/cni/net.d. */
export async function setUpPodman(host: TestHost, pluginDirs: readonly string[]): Promise<Podman> {
  await ensurePackages('podman');
  const bin = binOf('podman');
  const list = (items: readonly string[]) => `[${items.map((item) => JSON.stringify(item)).join(', ')}]`;
  await host.write(
    '/etc/containers/containers.conf',
    `[network]
network_backend = "cni"
cni_plugin_dirs = ${list(pluginDirs)}
network_config_dir = "/etc/cni/net.d"
[engine]
cgroup_manager = "cgroupfs"
events_logger = "none"
runtime = "runc"
conmon_path = ${list([path.join(bin, 'conmon')])}
[engine.runtimes]
runc = ${list([path.join(bin, 'runc')])}
`,
  );
  await host.write(
    '/etc/containers/storage.conf',
    '[storage]\ndriver = "vfs"\nrunroot = "/run/containers/storage"\ngraphroot = "/var/lib/containers/storage"\n',
  );
  await host.write('/etc/containers/policy.json', '{"default": [{"type": "insecureAcceptAnything"}]}');
  const env = {
    PATH: `${bin}:${binOf('tools')}:/usr/sbin:/usr/bin:/sbin:/bin`,
    CONTAINERS_CONF: '/etc/containers/containers.conf',
    CONTAINERS_STORAGE_CONF: '/etc/containers/storage.conf',
    TMPDIR: '/run',
  };
  const podman: Podman = {
    run: (argv, options = {}) =>
      host.run([path.join(bin, 'podman'), ...argv], {
        timeoutMs: 60_000,
        ...options,
        env: {...env, ...options.env},
      }),
    limits: [
      ['--ulimit', 'nofile=1024:1024', '--ulimit', 'nproc=1000:1000'],
      ['--cgroup-parent', host.cgroup],
    ].flat(),
  };
  await writeBusyboxTree(host, '/run/busybox.tar');
  await podman.run(['import', '/run/busybox.tar', 'busybox']);
  return podman;
}
