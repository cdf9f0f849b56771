import {createHash, randomUUID} from 'node:crypto';
import {existsSync, readFileSync} from 'node:fs';
import {mkdir, readdir, readlink, rename, rm, symlink, writeFile} from 'node:fs/promises';
import path from 'node:path';
import {runCommand} from './command.ts';
import {cacheDir} from './paths.ts';

/**
 * Debian packages that only tests need, by what they are for. They are downloaded with what they depend
 * on beyond the machine's own packages, unpacked under .cache/debian, and never installed.
 */
export const packageSets = {
  tools: [
    'iproute2',
    'iputils-ping',
    'nftables',
    'iptables',
    'strace',
    'busybox-static',
    'procps',
    'netbase',
    'curl',
  ],
  ping: ['iputils-ping'],
  reference: ['containernetworking-plugins'],
  podman: ['podman', 'conmon', 'runc'],
  containerd: ['containerd', 'runc'],
  firewalld: ['firewalld', 'dbus-daemon', 'python3', 'python3-dbus', 'python3-gi', 'python3-nftables'],
  etcd: ['etcd-server', 'etcd-client', 'openssl'],
  names: ['dnsperf', 'dnsmasq-base', 'aardvark-dns', 'golang-github-containernetworking-plugin-dnsname'],
  ufw: ['ufw', 'iptables', 'python3'],
  wireguard: ['wireguard-tools'],
  arm64: ['gcc-aarch64-linux-gnu', 'libc6-dev-arm64-cross', 'qemu-user-static'],
  systemd: ['systemd'],
  iperf: ['iperf3'],
  kernel: ['qemu-system-x86', 'linux-image-amd64', 'busybox-static', 'kmod'],
} as const satisfies Record<string, readonly string[]>;

export type PackageSet = keyof typeof packageSets;

// What every host has, and what must fit the host's own dynamic loader.
const ofTheHost = new Set(['libc6', 'libc-bin', 'libcrypt1', 'util-linux', 'dpkg', 'perl-base']);

const binDirs = ['usr/local/sbin', 'usr/local/bin', 'usr/sbin', 'usr/bin', 'sbin', 'bin'];

/** The directory a package set is (or would be) unpacked in: one per wanted list, release and architecture. */
function directoryOf(set: PackageSet): string {
  const release = existsSync('/etc/os-release') ? readFileSync('/etc/os-release', 'utf8') : '';
  const id = /^VERSION_ID="?([^"\n]*)/m.exec(release)?.[1] ?? 'unknown';
  const key = createHash('sha256')
    .update(JSON.stringify(['7', packageSets[set], id, process.arch, cacheDir]))
    .digest('hex');
  return path.join(cacheDir, 'debian', `${set}-${key.slice(0, 12)}`);
}

/** The root of an unpacked package set, or undefined when it has not been fetched. */
export function findPackages(set: PackageSet): string | undefined {
  const directory = directoryOf(set);
  return existsSync(path.join(directory, 'packages.json')) ? path.join(directory, 'root') : undefined;
}

/**
 * Fetches a package set unless the cache has it, and returns its root; afterwards no network is needed.
 * Throws an Error that names the packages and the remedy where Debian's package tools are missing.
 */
export async function ensurePackages(set: PackageSet, log?: (line: string) => void): Promise<string> {
  const found = findPackages(set);
  if (found !== undefined) return found;
  const wanted = packageSets[set];
  for (const tool of ['/usr/bin/apt-get', '/usr/bin/dpkg-deb']) {
    if (!existsSync(tool)) {
      throw new Error(
        `${tool} is missing: it is needed to fetch ${wanted.join(', ')} for the tests; ` +
          'run them on Debian 12 (or a container of it)',
      );
    }
  }
  const directory = directoryOf(set);
  const work = `${directory}.${randomUUID()}`;
  try {
    await fetchInto(work, directory, wanted, log);
    await rename(work, directory).catch((error: NodeJS.ErrnoException) => {
      // Another process was faster: its copy is as good.
      if (error.code !== 'ENOTEMPTY' && error.code !== 'EEXIST') throw error;
    });
  } catch (cause) {
    throw new Error(`fetch the Debian packages ${wanted.join(', ')} for the tests`, {cause});
  } finally {
    await rm(work, {recursive: true, force: true});
  }
  return path.join(directory, 'root');
}

async function fetchInto(
  work: string,
  directory: string,
  wanted: readonly string[],
  log?: (line: string) => void,
): Promise<void> {
  const root = path.join(work, 'root');
  const archives = path.join(work, 'archives');
  for (const directory of [root, path.join(archives, 'partial')]) await mkdir(directory, {recursive: true});
  // apt's lists and archives of our own: the machine's stay as they are, and others may fetch at the same time.
  const lists = path.join(work, 'lists');
  await mkdir(path.join(lists, 'partial'), {recursive: true});
  const options = [
    ['-qq', '-o', `Dir::State::Lists=${lists}`, '-o', `Dir::Cache=${work}`],
    ['-o', 'APT::Sandbox::User=root', '-o', 'Debug::NoLocking=1', '-o', 'Acquire::Retries=3'],
  ].flat();
  const apt = (argv: readonly string[], cwd: string) =>
    runCommand(['/usr/bin/apt-get', ...options, ...argv], {
      cwd,
      timeoutMs: 300_000,
      env: {...process.env, LC_ALL: 'C', DEBIAN_FRONTEND: 'noninteractive'},
      ...(log === undefined ? {} : {log}),
    });
  await apt(['update'], work);
  const plan = await apt(
    ['install', '--print-uris', '--no-install-recommends', '--reinstall', '--allow-downgrades', ...wanted],
    work,
  );
  const packages = parsePlan(plan.stdout).filter(({name}) => !ofTheHost.has(name));
  await apt(['download', ...packages.map(({name, version}) => `${name}=${version}`)], archives);
  for (const archive of await readdir(archives)) {
    if (!archive.endsWith('.deb')) continue;
    await runCommand(['/usr/bin/dpkg-deb', '-x', path.join(archives, archive), root], {timeoutMs: 120_000});
  }
  await mergeUsr(root);
  await writeWrappers(work, directory);
  for (const left of ['archives', 'lists', 'pkgcache.bin', 'srcpkgcache.bin'])
    await rm(path.join(work, left), {recursive: true, force: true});
  await writeFile(path.join(work, 'packages.json'), `${JSON.stringify({wanted, packages}, null, 2)}\n`);
}

/** As on the machines themselves: /bin, /lib and their like are links into /usr. */
async function mergeUsr(root: string): Promise<void> {
  for (const name of ['bin', 'sbin', 'lib', 'lib64']) {
    const old = path.join(root, name);
    if (!existsSync(old)) continue;
    await mkdir(path.join(root, 'usr', name), {recursive: true});
    await runCommand(['cp', '-al', `${old}/.`, path.join(root, 'usr', name)], {timeoutMs: 120_000});
    await rm(old, {recursive: true});
    await symlink(path.join('usr', name), old);
  }
}

/** `apt-get --print-uris` lines: 'uri' name_version_arch.deb size checksum, the version percent-encoded. */
export function parsePlan(text: string): {name: string; version: string}[] {
  return [...text.matchAll(/^'[^']*' ([^_\s]+)_([^_\s]+)_[^_\s]+\.deb /gm)].map(([, name, version]) => ({
    name: name ?? '',
    version: decodeURIComponent(version ?? ''),
  }));
}

/**
 * One small script per program of the set, which finds its libraries beside it: programs are started
 * from anywhere, by name or path, and no LD_LIBRARY_PATH leaks into what was not unpacked.
 */
async function writeWrappers(work: string, directory: string): Promise<void> {
  await mkdir(path.join(work, 'bin'), {recursive: true});
  const names = new Map<string, string>();
  for (const bin of binDirs) {
    const entries = await readdir(path.join(work, 'root', bin)).catch(() => []);
    for (const name of entries) {
      const file = path.join(work, 'root', bin, name);
      await keepInside(file, path.join(work, 'root'));
      names.set(name, path.join(bin, name));
    }
  }
  // Debian makes these names when the package is configured.
  for (const tool of ['iptables', 'ip6tables'])
    for (const suffix of ['', '-save', '-restore']) {
      const target = names.get(`${tool}-nft${suffix}`);
      if (target !== undefined) names.set(`${tool}${suffix}`, target);
    }
  const root = path.join(directory, 'root');
  const triplet = process.arch === 'arm64' ? 'aarch64-linux-gnu' : 'x86_64-linux-gnu';
  const lib = path.join(root, 'usr/lib', triplet);
  for (const [name, target] of names) {
    const script = `#!/bin/sh
export LD_LIBRARY_PATH='${lib}:${path.join(root, 'lib', triplet)}'
export XTABLES_LIBDIR='${lib}/xtables'
exec '${path.join(root, target)}' "$@"
`;
    await writeFile(path.join(work, 'bin', name), script, {mode: 0o755});
  }
}

/** Makes a link to an absolute path lead to the same place below `root`, when it is there. */
async function keepInside(file: string, root: string): Promise<void> {
  const target = await readlink(file).catch(() => '');
  if (!target.startsWith('/') || !existsSync(path.join(root, target))) return;
  await rm(file);
  await symlink(path.relative(path.dirname(file), path.join(root, target)), file);
}

/** The directory with the programs of a package set that was fetched: to be put on a PATH. */
export function binOf(set: PackageSet): string {
  return path.join(directoryOf(set), 'bin');
}

/**
 * Absolute path of a program: from the package set when it was fetched, else the machine's own. Throws
 * an Error naming the set that would bring it.
 */
export function toolPath(name: string, set: PackageSet = 'tools'): string {
  for (const directory of [binOf(set), ...binDirs.map((each) => `/${each}`)]) {
    const file = path.join(directory, name);
    if (existsSync(file)) return file;
  }
  throw new Error(`${name} is missing: npm test fetches it with ${packageSets[set].join(', ')}`);
}
