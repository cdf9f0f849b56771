import {createHash} from 'node:crypto';
import {mkdir, mkdtemp, readFile, rm, writeFile} from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import {runCommand} from './command.ts';
import {ensurePackages} from './debian.ts';
import type {TestHost} from './host.ts';

const applets = ['sh', 'sleep', 'httpd', 'wget', 'ping', 'ip', 'cat', 'true', 'ls', 'echo'];

/**
 * Writes a tar archive of a root file system to `file` on the test host: a static busybox, and a page
 * below /www.
 */
export async function writeBusyboxTree(host: TestHost, file: string): Promise<void> {
  await inTemporaryDirectory(async (work) => {
    await makeTree(path.join(work, 'root'));
    await runCommand(['tar', '-C', path.join(work, 'root'), '-cf', host.path(file), '.']);
  });
}

/** Writes the same tree as an image archive (`docker save`'s form) named `name`, which sleeps when started. */
export async function writeBusyboxImage(host: TestHost, file: string, name: string): Promise<void> {
  await inTemporaryDirectory(async (work) => {
    await makeTree(path.join(work, 'root'));
    await runCommand(['tar', '-C', path.join(work, 'root'), '-cf', path.join(work, 'layer.tar'), '.']);
    const layer = createHash('sha256')
      .update(await readFile(path.join(work, 'layer.tar')))
      .digest('hex');
    const config = {
      architecture: process.arch === 'x64' ? 'amd64' : process.arch,
      os: 'linux',
      config: {Entrypoint: ['/bin/sleep', '100000']},
      rootfs: {type: 'layers', diff_ids: [`sha256:${layer}`]},
    };
    const manifest = [{Config: 'config.json', RepoTags: [name], Layers: ['layer.tar']}];
    await writeFile(path.join(work, 'config.json'), JSON.stringify(config));
    await writeFile(path.join(work, 'manifest.json'), JSON.stringify(manifest));
    const files = ['manifest.json', 'config.json', 'layer.tar'];
    await runCommand(['tar', '-C', work, '-cf', host.path(file), ...files]);
  });
}

async function makeTree(root: string): Promise<void> {
  const busybox = path.join(await ensurePackages('tools'), 'bin/busybox');
  for (const directory of ['bin', 'tmp', 'etc', 'www', 'proc', 'sys', 'dev'])
    await mkdir(path.join(root, directory), {recursive: true});
  await writeFile(path.join(root, 'bin/busybox'), await readFile(busybox), {mode: 0o755});
  await writeFile(path.join(root, 'www/index.html'), 'a page of weft\n');
  const links = applets.map((name) => `ln -s busybox ${name}`).join('; ');
  await runCommand(['sh', '-ec', links], {cwd: path.join(root, 'bin')});
}

async function inTemporaryDirectory(use: (directory: string) => Promise<void>): Promise<void> {
  const work = await mkdtemp(path.join(os.tmpdir(), 'weft-image-'));
  try {
    await use(work);
  } finally {
    await rm(work, {recursive: true, force: true});
  }
}
