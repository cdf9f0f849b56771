import {readSync, writeSync} from 'node:fs';
import {setTimeout as sleep} from 'node:timers/promises';
import type {PluginIo} from './skel.ts';

/**
 * This process's own stdin, stdout and stderr. Without streams, which cost start-up time; the
 * descriptors may be pipes that the caller made non-blocking, so each is used until it is done.
 */
export function processIo(env: PluginIo['env']): PluginIo {
  return {
    env,
    stdin: () => readAll(0),
    stdout: (text) => writeAll(1, text),
    stderr: (text) => {
      // Only information: a caller that closed it, or does not read it, must not stop the call.
      try {
        writeSync(2, text);
      } catch {}
    },
  };
}

/** Reads a descriptor to its end. */
export async function readAll(fd: number): Promise<string> {
  const chunks: Buffer[] = [];
  const chunk = Buffer.allocUnsafe(65536);
  for (let pauseMs = 1; ;) {
    try {
      const length = readSync(fd, chunk);
      if (length === 0) return Buffer.concat(chunks).toString();
      chunks.push(Buffer.from(chunk.subarray(0, length)));
      pauseMs = 1;
    } catch (error) {
      pauseMs = await pauseIfBusy(error, pauseMs);
    }
  }
}

/** Writes all of a text to a descriptor. */
export async function writeAll(fd: number, text: string): Promise<void> {
  let rest: Buffer = Buffer.from(text);
  for (let pauseMs = 1; rest.length > 0;) {
    try {
      rest = rest.subarray(writeSync(fd, rest));
      pauseMs = 1;
    } catch (error) {
      pauseMs = await pauseIfBusy(error, pauseMs);
    }
  }
}

/** EAGAIN: the other side is not ready yet. Gives how long to wait the next time. */
async function pauseIfBusy(error: unknown, pauseMs: number): Promise<number> {
  if ((error as NodeJS.ErrnoException).code !== 'EAGAIN') throw error;
  await sleep(pauseMs);
  return Math.min(pauseMs * 2, 20);
}
