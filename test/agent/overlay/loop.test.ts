import {setTimeout} from 'node:timers/promises';
import test from 'ava';
import {ReconcileLoop, type Wake} from '../../../agent/overlay/loop.ts';

function record({
  takesMs = 0,
  ...options
}: {takesMs?: number; debounceMs?: number; maxDelayMs?: number} = {}) {
  const passes: Wake[][] = [];
  const errors: unknown[] = [];
  let running = 0;
  let most = 0;
  const loop = new ReconcileLoop({
    intervalMs: 3_600_000,
    ...options,
    async run(wakes) {
      most = Math.max(most, ++running);
      passes.push([...wakes]);
      await setTimeout(takesMs);
      running--;
    },
    onError: (error) => errors.push(error),
  });
  return {loop, passes, errors, most: () => most};
}

test('wakes in a row lead to one pass that knows them all', async (t) => {
  const {loop, passes} = record();
  for (const wake of ['delta', 'kernel', 'delta'] as const) loop.wake(wake);
  await loop.runNow('request');
  t.deepEqual(passes, [['delta', 'kernel', 'request']]);
  t.is(loop.generation, 1);
  await loop.stop();
});

test('one who is woken without end still runs, after the longest delay', async (t) => {
  const {loop, passes} = record({debounceMs: 40, maxDelayMs: 80});
  const started = performance.now();
  while (passes.length === 0 && performance.now() - started < 20_000) {
    loop.wake('kernel');
    await setTimeout(5);
  }
  t.is(passes.length, 1);
  await loop.stop();
});

test('never two passes at a time; what comes during one leads to one more', async (t) => {
  const {loop, passes, most} = record({takesMs: 30});
  const first = loop.runNow('request');
  await setTimeout(5);
  loop.wake('delta');
  loop.wake('kernel');
  await first;
  await loop.runNow('timer');
  await loop.stop();
  t.is(most(), 1);
  t.deepEqual(passes, [['request'], ['delta', 'kernel'], ['timer']]);
});

test('by the clock, and again after an error', async (t) => {
  const errors: unknown[] = [];
  const {promise, resolve} = Promise.withResolvers<void>();
  const intervals: number[] = [];
  const loop = new ReconcileLoop({
    intervalMs: 20,
    debounceMs: 1,
    random() {
      intervals.push(1);
      return 0.5;
    },
    async run() {
      if (errors.length === 2) resolve();
      else throw new Error('no');
    },
    onError: (error) => errors.push(error),
  });
  await promise;
  t.is(errors.length, 2);
  t.true(intervals.length >= 3);
  await loop.stop();
});

test('of several retries the earliest counts, and a stopped loop runs no more', async (t) => {
  const {loop, passes} = record({debounceMs: 1});
  loop.retryIn(60_000);
  loop.retryIn(10);
  loop.retryIn(30_000);
  for (let i = 0; passes.length === 0 && i < 2000; i++) await setTimeout(10);
  t.deepEqual(passes, [['retry']]);
  await loop.stop();
  loop.wake('kernel');
  loop.retryIn(1);
  await setTimeout(30);
  t.is(passes.length, 1);
});
