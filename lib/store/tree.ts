/*
 * What host-local keeps on disk. The tree, the names and the bytes are the Go plugin's, which may read and
 * change it at any time:
 *
 *   <dataDir>/                      default /var/lib/cni/networks, mode 0755
 *     <network>/                    mode 0755
 *       lock                        mode 0750, empty; flock(2) LOCK_EX for as long as anybody reads or writes
 *       10.1.2.2                    a reservation, mode 0600: "<container id>\r\n<interface>", no newline at
 *       2001:db8::2                 the end; the oldest releases wrote the container id alone. An empty file
 *                                   is what a crash left of one: nobody's, and free.
 *       last_reserved_ip.0          mode 0600: the address given last from range set 0, no newline
 *       .weft-new                   ours, for microseconds: a reservation that is being written. The Go plugin
 *                                   takes only names that are addresses for reservations. What a crash leaves
 *                                   of it goes with the next call that reads the directory.
 *
 * and, derived, in memory-backed storage (see index.ts):
 *
 *   /run/weft/host-local/           mode 0700
 *     <network>.<device>-<inode>    who has which address, without opening a file per address
 */
import {join} from 'node:path';

export const defaultDataDir = '/var/lib/cni/networks';
export const defaultIndexDir = '/run/weft/host-local';

export const lockName = 'lock';
export const unfinishedName = '.weft-new';
const lastReservedPrefix = 'last_reserved_ip.';

/** The file that remembers the address given last from range set number `set`. */
export function lastReservedPath(directory: string, set: number): string {
  return join(directory, `${lastReservedPrefix}${set}`);
}

/** Whether a name in the directory is one of ours or the Go plugin's that is no reservation. */
export function isBookkeeping(name: string): boolean {
  return name === lockName || name === unfinishedName || name.startsWith(lastReservedPrefix);
}
