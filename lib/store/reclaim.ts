import {existsSync, readdirSync, readFileSync, readlinkSync, statfsSync, statSync} from 'node:fs';
import {join} from 'node:path';
import {defaultCacheFolder, listCached} from '../cni/runtime/cache.ts';
import type {CachedAttachment} from '../cni/runtime/cache.ts';
import {formatIp, ipFromBytes, ipFromValue, parseIp} from '../ip/address.ts';
import type {Ip} from '../ip/address.ts';
import type {Reservation} from './reservation.ts';
import type {Store} from './store.ts';

/*
 * Reservations that nobody will give back. A network namespace does not outlive the boot it was made in, and every
 * attachment writes a new file: a file that is older than this boot belongs to nobody any more. What could make
 * that wrong is looked at too, and any doubt keeps the reservation:
 *
 * - The clock. "Older than this boot" is judged by the earliest time that the clock is known to have shown in this
 *   boot, not by the present idea of when the boot was: a machine without a battery starts in 1970 and jumps
 *   when it has a network. And a reservation that says itself that this boot made it (boot.ts) is kept.
 * - Another machine. On a file system that machines share, "this boot" is not everybody's: nothing is reclaimed.
 * - A container that lives all the same. Kept if the runtime's result cache names a namespace of it that exists, or
 *   if the address is configured in any network namespace that a process is in.
 */

export interface Reclaimer {
  /** Whether an earlier boot left the reservation and nothing lives that it could belong to. */
  isReclaimable(ip: Ip): boolean;
  /**
   * Whether anything shows that its container is there: a namespace that the runtime's cache names, or the address in
   * a namespace.
   */
  isAlive(reservation: Reservation): boolean;
}

export interface ReclaimOptions {
  readonly network: string;
  /** The runtime's result cache: podman, CRI-O and containerd all keep it in libcni's place. */
  readonly cacheFolder?: string | undefined;
  readonly procDir?: string;
  /** Files that the kernel made when it started. */
  readonly witnesses?: readonly string[];
}

/** Looks at the machine as it is when first asked; use it within one call, under the store's lock. */
export function openReclaimer(store: Store, options: ReclaimOptions): Reclaimer {
  const {network, cacheFolder = defaultCacheFolder, procDir = '/proc', witnesses = startupFiles} = options;
  let cached: readonly CachedAttachment[] | undefined;
  let addresses: ReadonlySet<string> | undefined;
  let isShared: boolean | undefined;
  let bootMs: number | undefined;
  const isAlive = (reservation: Reservation) => {
    cached ??= listCached(cacheFolder, network);
    if (listCachedNetns(cached, reservation).some(exists)) return true;
    addresses ??= listLiveAddresses(procDir);
    return addresses.has(formatIp(reservation.ip));
  };
  return {
    isAlive,
    isReclaimable(ip) {
      const age = store.findAge(ip);
      bootMs ??= earliestClockMs(procDir, witnesses);
      if (!age || age.isOfThisBoot || age.latestMs >= bootMs - clockSlackMs) return false;
      isShared ??= isSharedFileSystem(store.directory);
      const holder = store.findHolder(ip);
      return !isShared && holder !== undefined && !isAlive({ip, holder});
    },
  };
}

const startupFiles = ['/dev/null', '/dev/console', '/sys', '/proc'];

/** Time servers move clocks a little all the time. */
const clockSlackMs = 10_000;

/**
 * The earliest time that the clock is known to have shown in this boot: what it would have shown at the start by
 * today's reckoning, or what it did show when the kernel made these files, whichever is earlier.
 */
function earliestClockMs(procDir: string, witnesses: readonly string[]): number {
  const shown = witnesses.flatMap((path) => {
    try {
      const {mtimeMs, ctimeMs} = statSync(path);
      return [mtimeMs, ctimeMs];
    } catch {
      return [];
    }
  });
  return Math.min(reckonedBootMs(procDir), ...shown);
}

function reckonedBootMs(procDir: string): number {
  try {
    const seconds = /^btime (\d+)$/m.exec(readFileSync(join(procDir, 'stat'), 'latin1'))?.[1];
    // Without it nothing is older than this boot.
    return seconds === undefined ? 0 : Number(seconds) * 1000;
  } catch {
    return 0;
  }
}

/** linux/magic.h, and those of file systems outside of the kernel. */
const sharedFileSystems: ReadonlySet<number> = new Set([
  0x6969, // NFS
  0x517b, // SMB
  0xff534d42, // CIFS
  0xfe534d42, // SMB2
  0x00c36400, // Ceph
  0x65735546, // FUSE: GlusterFS, sshfs, virtiofs
  0x01021997, // 9p
  0x5346414f, // AFS
  0x7461636f, // OCFS2
  0x01161970, // GFS2
  0x0bd00bd0, // Lustre
  0x786f4256, // VirtualBox
]);

function isSharedFileSystem(directory: string): boolean {
  try {
    return sharedFileSystems.has(statfsSync(directory).type);
  } catch {
    return true;
  }
}

/** Paths of the namespaces that the runtime's cache names for a reservation's attachment. */
function listCachedNetns(cached: readonly CachedAttachment[], {holder}: Reservation): string[] {
  const {containerId, ifName} = holder;
  return cached
    .filter((each) => each.containerId === containerId && (ifName === undefined || each.ifName === ifName))
    .map((each) => each.netns);
}

function exists(path: string): boolean {
  return path !== '' && existsSync(path);
}

/** Every address of every network namespace that a process is in, without entering any. */
function listLiveAddresses(procDir: string): ReadonlySet<string> {
  const seen = new Set<string>();
  const addresses = new Set<string>();
  for (const pid of readdirSync(procDir).filter((name) => /^\d+$/.test(name))) {
    try {
      const netns = readlinkSync(join(procDir, pid, 'ns/net'));
      if (seen.has(netns)) continue;
      for (const address of [...readIpv4(join(procDir, pid)), ...readIpv6(join(procDir, pid))])
        addresses.add(address);
      seen.add(netns);
    } catch {
      // It ended meanwhile, or is not ours to look at.
    }
  }
  return addresses;
}

/** net/fib_trie has a line with the address before the one that says that it is the host's own. */
function* readIpv4(directory: string): Iterable<string> {
  const trie = readFileSync(join(directory, 'net/fib_trie'), 'latin1');
  for (const [, text] of trie.matchAll(/\|-- ([0-9.]+)\n\s+\/32 host LOCAL/g)) {
    const ip = parseIp(text!);
    if (ip) yield formatIp(ip);
  }
}

function* readIpv6(directory: string): Iterable<string> {
  let table = '';
  try {
    table = readFileSync(join(directory, 'net/if_inet6'), 'latin1');
  } catch {
    // A kernel without IPv6.
  }
  for (const [, hex] of table.matchAll(/^([0-9a-f]{32}) /gm)) {
    yield formatIp(ipFromValue(6, ipFromBytes(Buffer.from(hex!, 'hex')).value));
  }
}
