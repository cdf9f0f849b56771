import path from 'node:path';
import {mkdtemp, rm} from 'node:fs/promises';
import os from 'node:os';
import {runCommand} from './command.ts';
import {toolPath} from './debian.ts';
import type {TestHost} from './host.ts';

const applets = ['sh', 'sleep', 'httpd', 'wget', 'ping', 'ip', 'cat', 'nc', 'true', 'ls', 'echo'];

/**
 * Writes a tar archive of a root file system to `file` on the test host: a static busybox, and a page
 * below /www that says who serves it.
 */
export async function writeBusyboxTree(host: TestHost, file: string): Promise<void> {
  const work = await mkdtemp(path.join(os.tmpdir(), 'weft-image-'));
  try {
    const links = applets.map((name) => `ln -s busybox bin/${name}`).join('; ');
    await runCommand([
      'sh',
      '-ec',
      `cd "$1"; mkdir -p bin tmp etc www proc sys dev; cp "$2" bin/busybox; ${links}`,
      'sh',
      work,
      await busybox(),
    ]);
    await runCommand([
      'sh',
      '-ec',
      'cd "$1"; echo "a page of weft" > www/index.html; tar -cf "$2" .',
      'sh',
      work,
      host.path(file),
    ]);
  } finally {
    await rm(work, {recursive: true, force: true});
  }
}

/** The wrapper is a script; an image needs the program itself. */
async function busybox(): Promise<string> {
  const {stdout} = await runCommand([toolPath('busybox'), 'sh', '-c', 'readlink /proc/self/exe']);
  return stdout.trim();
}
