import {spawn} from 'node:child_process';
import {once} from 'node:events';
import {cpSync, mkdtempSync, rmSync} from 'node:fs';
import {tmpdir} from 'node:os';
import path from 'node:path';
import {setTimeout as sleep} from 'node:timers/promises';
import test from 'ava';
import {isStarting} from '../cli/installation/starting.ts';
import {pluginDir} from './harness/paths.ts';

test('a call that has not loaded its native parts is seen, one that has ended is not', async (t) => {
  const folder = mkdtempSync(path.join(tmpdir(), 'weft-starting-'));
  t.teardown(() => rmSync(folder, {recursive: true, force: true}));
  cpSync(pluginDir, folder, {recursive: true, verbatimSymlinks: true});
  t.false(isStarting(folder));
  // It waits for its configuration.
  const call = spawn(path.join(folder, 'bridge'), {
    env: {CNI_COMMAND: 'STATUS', CNI_PATH: folder},
    stdio: ['pipe', 'ignore', 'ignore'],
  });
  for (let i = 0; i < 200 && !isStarting(folder); i++) await sleep(50);
  t.true(isStarting(folder));
  call.stdin.end('not a configuration');
  await once(call, 'exit');
  t.false(isStarting(folder));
});
