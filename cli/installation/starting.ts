import {readdirSync, readFileSync, readlinkSync} from 'node:fs';
import {join} from 'node:path';

/** The native part that every plugin call loads (cli/addon.ts). */
const addon = 'koffi.node';

/** Whether a process of the program in this folder runs that has not loaded its native parts yet, as far as /proc shows. */
export function isStarting(folder: string): boolean {
  return readdirSync('/proc').some((pid) => {
    if (!/^\d+$/.test(pid)) return false;
    try {
      if (readlinkSync(`/proc/${pid}/exe`) !== join(folder, 'weft')) return false;
      return !readFileSync(`/proc/${pid}/maps`, 'latin1').includes(addon);
    } catch {
      // It ended, or is not ours to look at.
      return false;
    }
  });
}
