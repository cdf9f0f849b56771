import {spawn} from 'node:child_process';
import {mkdtemp, readdir, readFile, rm, writeFile} from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import {createInterface} from 'node:readline';
import {repository} from './paths.ts';
import {runCommand} from './command.ts';
import {formatCpio, type CpioEntry} from './cpio.ts';
import {binOf, ensurePackages} from './debian.ts';

/** What was seen of one boot of the second kernel. */
export interface Boot {
  /** Exit code of the script; null when the machine ended before the script did. */
  readonly code: number | null;
  /** What the script wrote to stdout and stderr. */
  readonly output: string;
  /** The machine's console: kernel messages, and what went wrong before the script. */
  readonly console: string;
  readonly durationMs: number;
}

export interface BootOptions {
  /** Shell script run as root, with the machine's own files (writes go to memory and are lost). */
  readonly script: string;
  readonly timeoutMs: number;
  /** Called with each line the script writes, as it is written. */
  readonly onLine?: (line: string) => void;
  readonly memoryMiB?: number;
}

// Inserted in this order: each stands on those before it.
const bootModules = [
  'kernel/drivers/virtio/virtio_ring.ko',
  'kernel/drivers/virtio/virtio.ko',
  'kernel/drivers/virtio/virtio_pci_legacy_dev.ko',
  'kernel/drivers/virtio/virtio_pci_modern_dev.ko',
  'kernel/drivers/virtio/virtio_pci.ko',
  'kernel/fs/netfs/netfs.ko',
  'kernel/fs/fscache/fscache.ko',
  'kernel/net/9p/9pnet.ko',
  'kernel/net/9p/9pnet_virtio.ko',
  'kernel/fs/9p/9p.ko',
  'kernel/fs/overlayfs/overlay.ko',
];

/**
 * Boots Debian's kernel in qemu (software emulation: no KVM, no rights needed) on this machine's own files and
 * runs a script there. The kernel has what the machine's may lack: 802.1Q, bridge VLAN filtering,
 * dummy, macvlan, vrf. The files are exported read-only with a writable layer in the guest's memory.
 */
export async function bootSecondKernel({
  script,
  timeoutMs,
  onLine,
  memoryMiB = 3072,
}: BootOptions): Promise<Boot> {
  const started = performance.now();
  const root = await ensurePackages('kernel');
  const modulesRoot = path.join(root, 'lib/modules');
  const [version] = await readdir(modulesRoot);
  if (version === undefined) throw new Error(`no kernel modules in ${modulesRoot}`);
  const work = await mkdtemp(path.join(os.tmpdir(), 'weft-kernel-'));
  try {
    await ensureModuleIndex(root, version);
    const initrd = path.join(work, 'initrd');
    await writeFile(initrd, await buildInitrd(root, version, script));
    const log = path.join(work, 'console');
    const guest = spawn(
      'setpriv',
      [
        ['--pdeathsig', 'KILL', path.join(binOf('kernel'), 'qemu-system-x86_64')],
        ['-L', path.join(root, 'usr/share/seabios'), '-L', path.join(root, 'usr/share/qemu')],
        // One processor: with two, Node's threads ended now and then in checks of V8's own, or in SIGSEGV.
        ['-accel', 'tcg,thread=single', '-cpu', 'max', '-smp', '1', '-m', String(memoryMiB)],
        ['-nodefaults', '-display', 'none', '-no-reboot'],
        ['-serial', `file:${log}`, '-serial', 'stdio'],
        ['-kernel', path.join(root, 'boot', `vmlinuz-${version}`), '-initrd', initrd],
        ['-append', 'console=ttyS0 quiet panic=-1 mitigations=off'],
        ['-virtfs', 'local,path=/,mount_tag=root,security_model=none,multidevs=remap,readonly=on'],
      ].flat(),
      {stdio: ['ignore', 'pipe', 'pipe']},
    );
    const deadline = setTimeout(() => guest.kill('SIGKILL'), timeoutMs);
    const lines: string[] = [];
    let code: number | null = null;
    let complaints = '';
    guest.stderr.on('data', (chunk: Buffer) => (complaints += chunk.toString()));
    const ended = new Promise<void>((resolve, reject) => {
      guest.once('error', reject);
      guest.once('close', () => resolve());
    });
    for await (const raw of createInterface({input: guest.stdout})) {
      const line = raw.replace(/\r$/, '');
      const end = /^weft-exit (\d+)$/.exec(line);
      if (end === null) {
        lines.push(line);
        onLine?.(line);
      } else code = Number(end[1]);
    }
    await ended;
    clearTimeout(deadline);
    const console = `${complaints}${await readFile(log, 'utf8').catch(() => '')}`;
    return {code, output: lines.join('\n'), console, durationMs: performance.now() - started};
  } finally {
    await rm(work, {recursive: true, force: true});
  }
}

/** Debian makes the index when the package is configured; ours never is. */
async function ensureModuleIndex(root: string, version: string): Promise<void> {
  const names = await readdir(path.join(root, 'lib/modules', version));
  if (names.includes('modules.dep.bin')) return;
  await runCommand([path.join(binOf('kernel'), 'depmod'), '-b', root, version], {timeoutMs: 120_000});
}

async function buildInitrd(root: string, version: string, script: string): Promise<Buffer> {
  const directories = ['bin', 'dev', 'proc', 'sys', 'modules', 'host', 'rw', 'root'];
  return formatCpio([
    ...directories.map((name) => ({name, mode: 0o040755, content: Buffer.alloc(0)})),
    await file('bin/busybox', path.join(root, 'bin/busybox')),
    ...(await Promise.all(
      bootModules.map((module) =>
        file(`modules/${path.basename(module)}`, path.join(root, 'lib/modules', version, module)),
      ),
    )),
    text('init', initScript()),
    text('main.sh', mainScript(root)),
    text('script.sh', script),
  ]);
}

async function file(name: string, from: string): Promise<CpioEntry> {
  return {name, mode: 0o100755, content: await readFile(from)};
}

function text(name: string, content: string): CpioEntry {
  return {name, mode: 0o100755, content: Buffer.from(content)};
}

function initScript(): string {
  return `#!/bin/busybox sh
export PATH=/bin
/bin/busybox --install -s /bin
mount -t proc proc /proc
mount -t devtmpfs dev /dev
for module in ${bootModules.map((module) => path.basename(module)).join(' ')}; do insmod /modules/$module; done
mount -t 9p -o trans=virtio,version=9p2000.L,msize=512000,cache=loose,ro root /host || poweroff -f
mount -t tmpfs rw /rw && mkdir /rw/upper /rw/work
mount -t overlay -o lowerdir=/host,upperdir=/rw/upper,workdir=/rw/work root /root || poweroff -f
for directory in proc sys dev run tmp var/tmp; do mkdir -p /root/$directory; done
mount -t proc proc /root/proc
mount -t sysfs sys /root/sys
mount -t devtmpfs dev /root/dev
mkdir -p /root/dev/pts /root/dev/shm
mount -t devpts devpts /root/dev/pts
mkdir /repository && mount --bind /root${repository} /repository
for directory in dev/shm run tmp; do mount -t tmpfs tmpfs /root/$directory; done
chmod 1777 /root/tmp
# A clone below /tmp would be hidden.
if [ ! -e /root${repository}/package.json ]; then
  mkdir -p /root${repository} && mount --bind /repository /root${repository}
fi
umount /repository
cp /main.sh /script.sh /root/run/
umount /proc
exec switch_root /root /bin/sh /run/main.sh
`;
}

function mainScript(root: string): string {
  const bin = binOf('kernel');
  return `exec >/dev/ttyS1 2>&1 </dev/null
printf '#!/bin/sh\\nexec ${bin}/modprobe -d ${root} "$@"\\n' > /run/modprobe
chmod 755 /run/modprobe
echo /run/modprobe > /proc/sys/kernel/modprobe
mount -t cgroup2 cgroup /sys/fs/cgroup
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LC_ALL=C
/bin/sh /run/script.sh
echo "weft-exit $?"
sync
${bin}/busybox poweroff -f
`;
}
