import {closeSync, openSync, readFileSync, writeSync} from 'node:fs';
import {errnoCode, errnoOf, errnoText} from '../errno.ts';

/** A sysctl that cannot be read or written; `code` is the errno's name. */
export class SysctlError extends Error {
  override readonly name = 'SysctlError';
  readonly code: string;

  constructor(text: string, cause: unknown) {
    const errno = errnoOf(cause) ?? 0;
    // Without the cause, whose sentence this is already.
    super(`${text}: ${errnoText(errno)}`);
    this.code = errnoCode(errno);
  }
}

/** There is no such setting: the interface is gone, or the kernel is built without it (IPv6). */
export function isNoSysctl(error: unknown): boolean {
  return error instanceof SysctlError && error.code === 'ENOENT';
}

/** /proc/sys is mounted read-only, or belongs to another user namespace. */
export function isSysctlReadOnly(error: unknown): boolean {
  return error instanceof SysctlError && ['EROFS', 'EACCES', 'EPERM'].includes(error.code);
}

/**
 * Settings below /proc/sys, by their path with slashes (`net/ipv6/conf/eth0.7/accept_ra`: interface names may hold dots).
 * What is under `net/` is that of a network namespace. Everything is synchronous.
 */
export interface Sysctl {
  /** The value without surrounding white space. */
  read(name: string): string;
  write(name: string, value: string): void;
  /** Writes unless the value is that already; tells whether it wrote. */
  ensure(name: string, value: string): boolean;
}

/** The settings of the namespace the calling thread is in. */
export const sysctl: Sysctl = sysctlBelow(() => '/proc/sys');

/** As `sysctl`, by another way to the same files: `root` gives a directory that stands for /proc/sys during one access. */
export function sysctlBelow(root: () => string): Sysctl {
  const all: Sysctl = {
    read(name) {
      try {
        return readFileSync(`${root()}/${name}`, 'latin1').trim();
      } catch (cause) {
        throw new SysctlError(`open /proc/sys/${name}`, cause);
      }
    },
    write(name, value) {
      let fd: number;
      try {
        // Not 'w', which would try to create what is missing and get another error for it.
        fd = openSync(`${root()}/${name}`, 'r+');
      } catch (cause) {
        throw new SysctlError(`open /proc/sys/${name}`, cause);
      }
      try {
        writeSync(fd, value);
      } catch (cause) {
        throw new SysctlError(`write /proc/sys/${name}`, cause);
      } finally {
        closeSync(fd);
      }
    },
    ensure(name, value) {
      if (all.read(name) === value) return false;
      all.write(name, value);
      return true;
    },
  };
  return all;
}
