import {accessSync, close, constants} from 'node:fs';
import {mountProcfs} from './native.ts';

const mostUses = 256;

/**
 * A procfs that only this process has, for one that sets sysctls of many network namespaces. The kernel finds
 * /proc/sys/net by looking at one directory entry of this name for each namespace where anybody opened it, which takes
 * milliseconds on a full node; a procfs of one's own, made anew now and then, has few of them.
 */
export class OwnProcfs {
  #fd: number | undefined;
  #uses = 0;
  #isRefused = false;

  /** What stands for /proc/sys until this is called again: /proc/sys itself where the kernel gives no other, or it is not writable. */
  sys(): string {
    if (this.#isRefused) return '/proc/sys';
    if (this.#fd === undefined || this.#uses >= mostUses) {
      this.close();
      if (!isWritable()) return '/proc/sys';
      try {
        this.#fd = mountProcfs();
      } catch {
        this.#isRefused = true;
        return '/proc/sys';
      }
    }
    this.#uses++;
    return `/proc/self/fd/${this.#fd}/sys`;
  }

  close(): void {
    // In another thread: it may take a millisecond to take it down.
    if (this.#fd !== undefined) close(this.#fd, () => {});
    this.#fd = undefined;
    this.#uses = 0;
  }
}

/** Whether /proc/sys may be written; one that is mounted read-only is not to be got around. Any file of it that is not below net/. */
function isWritable(): boolean {
  try {
    accessSync('/proc/sys/kernel/pid_max', constants.W_OK);
    return true;
  } catch {
    return false;
  }
}
