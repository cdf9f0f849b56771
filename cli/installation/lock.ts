import {closeSync, mkdirSync, openSync} from 'node:fs';
import {flock} from '../../lib/netns/native.ts';
import type {Layout} from './layout.ts';

/** Two installers at once would undo each other's work: the second one is told to come back. */
export function lockInstallation({home, lock, binDir}: Layout): Disposable {
  mkdirSync(home, {recursive: true, mode: 0o755});
  const fd = openSync(lock, 'a', 0o600);
  if (!flock(fd, {exclusive: true, wait: false})) {
    closeSync(fd);
    throw new Error(
      `another \`weft install\` or \`weft uninstall\` is at work in ${binDir}: try again when it is done`,
    );
  }
  return {[Symbol.dispose]: () => closeSync(fd)};
}
