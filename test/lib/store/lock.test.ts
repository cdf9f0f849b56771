import {spawn} from 'node:child_process';
import {once} from 'node:events';
import {setTimeout as sleep} from 'node:timers/promises';
import {join} from 'node:path';
import test from 'ava';
import {CniError} from '../../../lib/cni/error.ts';
import {withLock} from '../../../lib/store/lock.ts';
import {makeStore} from './helpers.ts';

test('calls of one process take turns, in their order', async (t) => {
  const path = join(makeStore(t).root, 'lock');
  const seen: string[] = [];
  await Promise.all(
    [1, 2, 3, 4].map((i) =>
      withLock({path, timeoutMs: 5000}, async () => {
        seen.push(`${i} in`);
        await sleep(2);
        seen.push(`${i} out`);
      }),
    ),
  );
  t.deepEqual(
    seen,
    [1, 2, 3, 4].flatMap((i) => [`${i} in`, `${i} out`]),
  );
});

test('a call that fails gives the lock to the next', async (t) => {
  const path = join(makeStore(t).root, 'lock');
  const failed = withLock({path, timeoutMs: 5000}, () => {
    throw new Error('no');
  });
  const next = withLock({path, timeoutMs: 5000}, () => 'yes');
  await t.throwsAsync(failed, {message: 'no'});
  t.is(await next, 'yes');
});

test('waits for another process, and says who after the deadline', async (t) => {
  const path = join(makeStore(t).root, 'lock');
  const holder = spawn('flock', ['--no-fork', path, 'sh', '-c', 'echo held; exec sleep 60'], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  t.teardown(() => holder.kill('SIGKILL'));
  await once(holder.stdout, 'data');
  const error = await t.throwsAsync(
    withLock({path, timeoutMs: 50}, () => 1),
    {instanceOf: CniError},
  );
  t.is(error.code, 11);
  t.is(error.message, `cannot lock ${path}: another process has held it for 0.05 s`);
  t.is(error.details, `\`lsof ${path}\` shows which process it is`);
  const next = withLock({path, timeoutMs: 30_000}, () => 'got it');
  holder.kill('SIGKILL');
  t.is(await next, 'got it');
});
