import {CniError, errorCodes} from '../cni/error.ts';
import {errnoText} from '../errno.ts';

/** What the operator can do about an error of the file system. */
const remedies: Readonly<Record<string, string>> = {
  ENOSPC: 'free space or inodes on that file system (df -h, df -i), or move ipam.dataDir to another one',
  EDQUOT: 'raise the disk quota of the user the plugin runs as, or move ipam.dataDir',
  EROFS: 'mount it read-write, or set ipam.dataDir to a directory that can be written',
  EACCES: 'run the plugin as the owner of the directory, or set ipam.dataDir to a directory of this user',
  EPERM: 'run the plugin as the owner of the directory, or set ipam.dataDir to a directory of this user',
  ENOTDIR: 'remove the file that is in the way, or set ipam.dataDir to a directory',
  EISDIR: 'remove the directory that has the name of a file',
  ENOLCK: 'the file system of ipam.dataDir must support flock(2): move it to a local one',
  EIO: 'the disk failed: see the kernel log, and move ipam.dataDir to a sound one',
  EMFILE: 'raise the limit of open files of the process that runs the plugin',
  ENFILE: 'raise the sysctl fs.file-max',
  ENAMETOOLONG: 'shorten ipam.dataDir or the name of the network',
  ELOOP: 'mend the symbolic links on the way to ipam.dataDir',
};

/** Error 5: `action` ("create", "read", …) failed on `path`. It says all that its cause would. */
export function storeError(action: string, path: string, cause: unknown): CniError {
  const remedy = remedies[(cause as NodeJS.ErrnoException).code ?? ''] ?? '';
  return new CniError(errorCodes.ioFailure, `cannot ${action} ${path}: ${describeErrno(cause)}`, remedy);
}

/** The kernel's sentence for an error of node:fs. */
export function describeErrno(error: unknown): string {
  const {errno, message} = error as NodeJS.ErrnoException;
  return errno === undefined ? message : errnoText(-errno);
}

export function isErrno(error: unknown, ...codes: readonly string[]): boolean {
  return codes.includes((error as NodeJS.ErrnoException).code ?? '');
}
