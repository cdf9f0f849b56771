import {readFileSync, statSync, watch, type FSWatcher} from 'node:fs';
import {basename, dirname} from 'node:path';
import {formatIp, parseIp} from '../../lib/ip/address.ts';
import type {Upstream} from './relay.ts';

const dnsPort = 53;

/** The servers of a resolv.conf(5), in its order. Addresses with a zone (`fe80::1%eth0`) are kept as they are. */
export function parseNameservers(text: string): readonly Upstream[] {
  return text.split('\n').flatMap((line) => {
    const [, word = ''] = /^\s*nameserver\s+(\S+)/.exec(line) ?? [];
    const [address = '', zone] = word.split('%');
    const ip = parseIp(address);
    if (ip === undefined) return [];
    return [{address: zone === undefined ? formatIp(ip) : `${formatIp(ip)}%${zone}`, port: dnsPort}];
  });
}

export interface FollowedFile {
  readonly upstreams: readonly Upstream[];
  close(): void;
}

/**
 * Follows a resolv.conf: what replaces it (NetworkManager and systemd rename a new one into place, or change what a link
 * leads to) is seen at once where the kernel tells, else within `pollMs`. A file that is gone or being written leaves the servers as
 * they were.
 */
export function followResolvConf(
  path: string,
  {pollMs, onChange}: {readonly pollMs: number; readonly onChange: () => void},
): FollowedFile {
  let upstreams: readonly Upstream[] = [];
  let seen = '';
  const look = () => {
    try {
      // Through links: the file that is read counts.
      const {mtimeMs, ino, size} = statSync(path);
      const stamp = `${ino} ${mtimeMs} ${size}`;
      if (stamp === seen) return;
      const found = parseNameservers(readFileSync(path, 'utf8'));
      seen = stamp;
      if (found.length === 0 || JSON.stringify(found) === JSON.stringify(upstreams)) return;
      upstreams = found;
      onChange();
    } catch {
      // Until it is there again.
    }
  };
  look();
  let watcher: FSWatcher | undefined;
  try {
    watcher = watch(dirname(path), (_, name) => {
      if (name === null || name === basename(path)) look();
    });
    watcher.on('error', () => watcher?.close());
  } catch {
    // Out of inotify watches: looked at every so often then.
  }
  const timer = setInterval(look, pollMs);
  return {
    get upstreams() {
      return upstreams;
    },
    close() {
      clearInterval(timer);
      watcher?.close();
    },
  };
}
