import {CniError, errorCodes} from '../cni/error.ts';

/** The kernel's sentence for an errno, and what the operator can do about it. */
const causes: Readonly<Record<string, readonly [text: string, remedy: string]>> = {
  ENOSPC: [
    'no space left on device',
    'free space or inodes on that file system (df -h, df -i), or move dataDir to another one',
  ],
  EDQUOT: ['disk quota exceeded', 'raise the quota of the user the plugin runs as, or move dataDir'],
  EROFS: [
    'read-only file system',
    'mount it read-write, or set ipam.dataDir to a directory that can be written',
  ],
  EACCES: [
    'permission denied',
    'run the plugin as the owner of the directory, or set ipam.dataDir to a directory of that user',
  ],
  EPERM: [
    'operation not permitted',
    'run the plugin as the owner of the directory, or set ipam.dataDir to a directory of that user',
  ],
  ENOTDIR: ['not a directory', 'remove the file that is in the way, or set ipam.dataDir to a directory'],
  EISDIR: ['is a directory', 'remove the directory that has the name of an address'],
  ENOLCK: ['no locks available', 'the file system of dataDir must support flock(2); move dataDir to a local one'],
  EIO: ['input/output error', 'the disk failed: see the kernel log, and move dataDir to a sound one'],
  EMFILE: ['too many open files', 'raise the limit of open files of the process that runs the plugin'],
  ENFILE: ['too many open files in system', 'raise the sysctl fs.file-max'],
  ENAMETOOLONG: ['file name too long', 'shorten ipam.dataDir or the name of the network'],
  ELOOP: ['too many levels of symbolic links', 'mend the symbolic links on the way to ipam.dataDir'],
};

/** Error 5: `action` ("create", "read", …) failed on `path`. */
export function storeError(action: string, path: string, cause: unknown): CniError {
  const {code = '', message} = cause as NodeJS.ErrnoException;
  const [text, remedy] = causes[code] ?? [message, ''];
  return new CniError(errorCodes.ioFailure, `cannot ${action} ${path}: ${text}`, remedy, {cause});
}

export function isErrno(error: unknown, ...codes: readonly string[]): boolean {
  return codes.includes((error as NodeJS.ErrnoException).code ?? '');
}
