import {closeSync} from 'node:fs';
import {setTimeout as sleep} from 'node:timers/promises';
import koffi from 'koffi';

const afUnix = 1;
const sockDgram = 2;
const sockNonblock = 0o4000;

/** The service manager's end of sd_notify(3): a datagram socket, which Node has none of. */
export interface NotifySocket {
  /** What came so far, line by line. */
  readonly lines: readonly string[];
  /** Resolves when a line that matches has come; looks from the line `from` on. */
  until(pattern: RegExp, from?: number): Promise<void>;
  close(): void;
}

export function openNotifySocket(path: string): NotifySocket {
  const libc = koffi.load(null);
  const socket = libc.func('int socket(int family, int type, int protocol)');
  const bind = libc.func('int bind(int fd, void *address, uint32_t size)');
  const recv = libc.func('intptr_t recv(int fd, void *data, size_t size, int flags)');
  const fd = socket(afUnix, sockDgram | sockNonblock, 0) as number;
  const address = Buffer.alloc(110);
  address.writeUInt16LE(afUnix);
  if (address.write(path, 2) !== Buffer.byteLength(path) || bind(fd, address, address.length) !== 0)
    throw new Error(`cannot bind ${path}: ${koffi.errno()}`);
  const lines: string[] = [];
  const buffer = Buffer.alloc(4096);
  const read = () => {
    for (;;) {
      const size = Number(recv(fd, buffer, buffer.length, 0));
      if (size < 0) return;
      lines.push(...buffer.toString('utf8', 0, size).split('\n'));
    }
  };
  return {
    get lines() {
      read();
      return lines;
    },
    async until(pattern, from = 0) {
      for (const deadline = Date.now() + 30_000; ; await sleep(5)) {
        read();
        if (lines.slice(from).some((line) => pattern.test(line))) return;
        if (Date.now() > deadline) throw new Error(`no ${pattern} among ${lines.join(', ')}`);
      }
    },
    close: () => closeSync(fd),
  };
}
