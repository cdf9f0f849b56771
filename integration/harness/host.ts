import {spawn, type ChildProcess} from 'node:child_process';
import {mkdir, readdir, readFile, rmdir, writeFile} from 'node:fs/promises';
import path from 'node:path';
import {setTimeout} from 'node:timers/promises';
import type {ExecutionContext} from 'ava';
import {startAgentOn} from './agent.ts';
import {runCommand, type CommandOptions, type Output} from './command.ts';
import {binOf, ensurePackages} from './debian.ts';
import {isWarm, pluginDir, repository} from './paths.ts';

/**
 * A host made for one test: a process in network, mount and process-id namespaces of its own, in which /run,
 * /etc, /opt and /var/lib take writes that nobody else sees. When it is closed, all that was
 * started, mounted or configured in it is gone.
 */
export interface TestHost {
  /** Process id of its first process, as seen from outside. */
  readonly pid: number;
  /** Runs a command on it (see `runCommand`); programs of the `tools` packages are found by name. */
  run(argv: readonly string[], options?: CommandOptions): Promise<Output>;
  /** Runs a shell script on it that stops at the first error; `args` are its $1, $2, … */
  sh(script: string, options?: CommandOptions & {readonly args?: readonly string[]}): Promise<Output>;
  /** Starts a process that lives as long as the host, or until it is killed. */
  start(
    argv: readonly string[],
    options?: Pick<CommandOptions, 'env'> & {readonly stdin?: 'pipe'},
  ): ChildProcess;
  /** Where a path of the host is reached from outside. */
  path(file: string): string;
  write(file: string, content: string): Promise<void>;
  read(file: string): Promise<string>;
  /** Makes a network namespace with `lo` up, and returns its path on the host: /run/netns/NAME. */
  addNetns(name: string): Promise<string>;
  /** Makes many at once: `addNetnses('pod', 100)` makes pod-0 to pod-99. */
  addNetnses(prefix: string, count: number): Promise<string[]>;
  removeNetns(name: string): Promise<void>;
  /** The command line that runs `argv` in one of its network namespaces. */
  inNetns(name: string, argv: readonly string[]): string[];
  /** Control group for what runtimes start on it, the same in every hierarchy; removed with the host. */
  readonly cgroup: string;
  readonly log: (line: string) => void;
  close(): Promise<void>;
}

const home = '/run/home';
const ownPath = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';

// Everything is below namespaces of its own, so nothing here reaches the machine. A directory that
// tests write to becomes a memory file system whose entries are links to the machine's; the rest of the
// machine's root can only be read.
const setUp = `set -e
umask 022
mount -t tmpfs -o mode=755 tmpfs /run
mkdir -p /run/machine/etc /run/machine/opt /run/machine/lib /run/machine/cgroup /run/netns /run/lock
writable() {
  mount --bind "$1" "/run/machine/$2"
  mount -o remount,bind,ro "/run/machine/$2"
  mount -t tmpfs -o mode=755 tmpfs "$1"
  for entry in "/run/machine/$2"/* "/run/machine/$2"/.[!.]*; do
    if [ -e "$entry" ] || [ -L "$entry" ]; then ln -s "$entry" "$1/"; fi
  done
}
writable /etc etc
writable /opt opt
writable /var/lib lib
rm -rf /etc/cni /etc/weft /opt/cni /var/lib/cni /var/lib/weft /etc/containers /var/lib/containers
mkdir -p /etc/cni/net.d /opt/cni/bin /var/lib/cni
# What a minimal machine lacks.
[ -e /etc/hosts ] || echo '127.0.0.1 localhost' > /etc/hosts
for file in protocols services; do [ -e /etc/$file ] || ln -s "$WEFT_TEST_TOOLS/etc/$file" /etc/$file; done
if mountpoint -q /sys/fs/cgroup; then mount --rbind /sys/fs/cgroup /run/machine/cgroup; fi
mount -t sysfs sysfs /sys
if mountpoint -q /run/machine/cgroup; then mount --rbind /run/machine/cgroup /sys/fs/cgroup; fi
mkdir /run/machine/repository
mount --bind "$WEFT_TEST_REPOSITORY" /run/machine/repository
for directory in /tmp /var/tmp /var/cache /var/log; do mount -t tmpfs tmpfs "$directory"; done
if [ ! -e "$WEFT_TEST_REPOSITORY" ]; then
  mkdir -p "$WEFT_TEST_REPOSITORY"
  mount --bind /run/machine/repository "$WEFT_TEST_REPOSITORY"
fi
mount --bind "$WEFT_TEST_PLUGINS" /opt/cni/bin || true
mount -o remount,bind,ro /
mkdir -p "$HOME"
echo 0 > /proc/sys/net/ipv6/conf/default/accept_dad || true
hostname "$WEFT_TEST_HOSTNAME" || true
echo ready
trap '' INT TERM
while :; do sleep 3600 & wait; done
`;

// ava starts all tests of a file at once; more hosts than these only make each other wait.
const most = 3;
let open = 0;
const waiting: (() => void)[] = [];

async function takeTurn(t: ExecutionContext): Promise<void> {
  if (open === most) await new Promise<void>((resolve) => waiting.push(resolve));
  else open++;
  t.teardown(() => {
    const next = waiting.shift();
    if (next === undefined) open--;
    else next();
  });
}

/**
 * Makes a host for a test and closes it when the test ends; if the test failed, all that was run on
 * it is shown. A file's tests have at most three hosts at once, so one test must not make more than that.
 * Root only.
 */
export async function makeHost(t: ExecutionContext, options: HostOptions = {}): Promise<TestHost> {
  // Teardowns run last to first: the host is closed before another one gets its turn.
  await takeTurn(t);
  const lines: string[] = [];
  const host = await startHost((line) => lines.push(line), options);
  t.teardown(async () => {
    await host.close();
    if (!t.passed) for (const line of lines) t.log(line);
  });
  return host;
}

export interface HostOptions {
  /** What is mounted on its /opt/cni/bin; the executables that are tested by default. */
  readonly plugins?: string;
  /** Whether a node agent serves its calls; where `npm test` runs a file for the second time it does by default. */
  readonly agent?: boolean;
}

/** As `makeHost`, without a test around it: the caller closes it. */
export async function startHost(
  log: (line: string) => void = () => {},
  {plugins = pluginDir, agent = isWarm}: HostOptions = {},
): Promise<TestHost> {
  const tools = await ensurePackages('tools');
  const holder = spawn(
    'setpriv',
    [
      // Whatever ends this process ends the host: with it goes unshare, and with that what it started.
      ['--pdeathsig', 'KILL', 'unshare'],
      ['--net', '--mount', '--uts', '--ipc', '--pid', '--fork', '--kill-child', '--mount-proc'],
      ['--propagation', 'private', '/bin/sh', '-c', setUp],
    ].flat(),
    {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: {
        PATH: ownPath,
        HOME: home,
        LC_ALL: 'C',
        WEFT_TEST_HOSTNAME: 'weft-test',
        WEFT_TEST_REPOSITORY: repository,
        WEFT_TEST_PLUGINS: plugins,
        WEFT_TEST_TOOLS: tools,
      },
    },
  );
  await ready(holder);
  const children = await readFile(`/proc/${holder.pid}/task/${holder.pid}/children`, 'utf8');
  const pid = Number(children.trim().split(' ')[0]);
  const env = {PATH: `${binOf('tools')}:${ownPath}`, HOME: home, LC_ALL: 'C'};
  const enter = [
    'nsenter',
    `--target=${pid}`,
    '--root',
    `--wd=/proc/${pid}/root`,
    '--net',
    '--mount',
    '--uts',
    '--ipc',
    '--pid',
    '--',
  ];
  const host: TestHost = {
    pid,
    cgroup: `/weft-test-${pid}`,
    log,
    run: (argv, options = {}) =>
      runCommand([...enter, ...argv], {
        log: (line) => log(line.replace(enter.join(' '), '').trimEnd()),
        ...options,
        env: {...env, ...options.env},
      }),
    sh: (script, {args = [], ...options} = {}) =>
      host.run(['/bin/sh', '-ec', script, 'sh', ...args], options),
    start(argv, options = {}) {
      log(`& ${argv.join(' ')}`);
      const child = spawn(enter[0]!, [...enter.slice(1), ...argv], {
        stdio: [options.stdin ?? 'ignore', 'pipe', 'pipe'],
        env: {...env, ...options.env},
      });
      const name = path.basename(argv[0] ?? '');
      for (const stream of [child.stdout, child.stderr])
        stream?.on('data', (chunk: Buffer) => {
          for (const line of chunk.toString().trimEnd().split('\n')) log(`  ${name}: ${line}`);
        });
      return child;
    },
    path: (file) => path.join(`/proc/${pid}/root`, file),
    async write(file, content) {
      // A link would lead to the machine's file of that name, seen from outside.
      await mkdir(path.dirname(host.path(file)), {recursive: true});
      await writeFile(host.path(file), content);
    },
    read: (file) => readFile(host.path(file), 'utf8'),
    async addNetns(name) {
      const file = `/run/netns/${name}`;
      await host.sh(`touch ${file}; unshare --net=${file} true; nsenter --net=${file} ip link set lo up`);
      return file;
    },
    async addNetnses(prefix, count) {
      const files = Array.from({length: count}, (_, index) => `/run/netns/${prefix}-${index}`);
      await host.sh(
        `for file in "$@"; do touch $file; unshare --net=$file true; nsenter --net=$file ip link set lo up; done`,
        {timeoutMs: 60_000, args: files},
      );
      return files;
    },
    async removeNetns(name) {
      // The kernel takes a namespace down in a thread of its own, and with it what is joined to it here.
      await host.sh(
        `joined=$(ip -o link show type veth | grep -E ' link-netns ${name}( |$)' | sed 's/^[0-9]*: //; s/[@:].*//')
        umount /run/netns/${name}; rm /run/netns/${name}
        for i in $(seq 600); do
          left=; for link in $joined; do [ -e /sys/class/net/$link ] && left=$link; done
          [ $left ] || exit 0; sleep 0.1
        done
        echo "$left is still there" >&2; exit 1`,
        {timeoutMs: 90_000},
      );
    },
    inNetns: (name, argv) => ['nsenter', `--net=/run/netns/${name}`, '--', ...argv],
    async close() {
      if (holder.exitCode !== null || holder.signalCode !== null) return;
      const gone = new Promise((resolve) => holder.once('close', resolve));
      // --kill-child: the first process goes with it, and everything in its namespace with that.
      holder.kill('SIGKILL');
      await gone;
      await removeCgroups(host.cgroup);
    },
  };
  await host.run(['ip', 'link', 'set', 'lo', 'up'], {log: () => {}});
  if (agent) await startAgentOn(host);
  return host;
}

/** Removes a control group, and those below it, from each hierarchy; their processes are gone. */
async function removeCgroups(name: string): Promise<void> {
  const root = '/sys/fs/cgroup';
  const hierarchies = await readdir(root, {withFileTypes: true}).catch(() => []);
  const remove = async (directory: string): Promise<void> => {
    const below = await readdir(directory, {withFileTypes: true}).catch(() => []);
    for (const entry of below) if (entry.isDirectory()) await remove(path.join(directory, entry.name));
    // The kernel takes the dead out of their group a moment after they are gone.
    for (let attempt = 0; attempt < 20; attempt++) {
      const error = await rmdir(directory).then(
        () => undefined,
        (reason: NodeJS.ErrnoException) => reason,
      );
      if (error?.code !== 'EBUSY') return;
      await setTimeout(50);
    }
  };
  for (const base of [
    root,
    ...hierarchies.filter((each) => each.isDirectory()).map((each) => path.join(root, each.name)),
  ])
    await remove(path.join(base, name));
}

async function ready(holder: ChildProcess): Promise<void> {
  let said = '';
  const failed = new Promise<never>((_, reject) => {
    holder.once('error', reject);
    holder.once('close', () => reject(new Error(`the test host did not start: ${said}`)));
  });
  const started = new Promise<void>((resolve) => {
    for (const stream of [holder.stdout, holder.stderr])
      stream?.on('data', (chunk: Buffer) => {
        said += chunk.toString();
        if (said.includes('ready\n')) resolve();
      });
  });
  await Promise.race([started, failed]);
  failed.catch(() => {});
}
