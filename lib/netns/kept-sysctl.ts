import {openSync, readSync} from 'node:fs';
import type {Sysctl} from './sysctl.ts';

/** Settings of the whole host that nearly every call reads. */
const keptNames: ReadonlySet<string> = new Set(['net/ipv4/ip_forward', 'net/ipv6/conf/all/forwarding']);

/**
 * As `sysctl`, for a process that asks again and again: the files of the settings that every call reads stay open, because to
 * find one in /proc takes the kernel ten times as long as to read it. For one namespace, which the process never leaves.
 */
export function keepOpen(sysctl: Sysctl): Sysctl {
  const open = new Map<string, number>();
  const buffer = Buffer.alloc(64);
  const kept: Sysctl = {
    read(name) {
      if (!keptNames.has(name)) return sysctl.read(name);
      try {
        let fd = open.get(name);
        if (fd === undefined) open.set(name, (fd = openSync(`/proc/sys/${name}`, 'r')));
        return buffer.toString('latin1', 0, readSync(fd, buffer, 0, buffer.length, 0)).trim();
      } catch {
        // Says why it cannot be read.
        return sysctl.read(name);
      }
    },
    write: (name, value) => sysctl.write(name, value),
    ensure(name, value) {
      if (kept.read(name) === value) return false;
      kept.write(name, value);
      return true;
    },
  };
  return kept;
}
