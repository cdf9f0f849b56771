import test from 'ava';
import {Backoff} from '../../../agent/overlay/backoff.ts';

test('each failure doubles the pause of its own key, up to a limit', (t) => {
  const backoff = new Backoff({firstMs: 100, mostMs: 500});
  const pauses: number[] = [];
  let now = 0;
  for (let i = 0; i < 5; i++) {
    backoff.fail('a', 'refused', now);
    pauses.push(backoff.nextInMs(now)!);
    now += 10_000;
  }
  t.deepEqual(pauses, [100, 200, 400, 500, 500]);
  t.true(backoff.isWaiting('a', now - 10_000));
  t.false(backoff.isWaiting('a', now));
  t.false(backoff.isWaiting('b', 0));
  t.is(backoff.errorOf('a'), 'refused');
});

test('success and disappearance forget', (t) => {
  const backoff = new Backoff();
  for (const key of ['a', 'b', 'c']) backoff.fail(key, 'no', 0);
  backoff.succeed('a');
  backoff.keep(new Set(['c']));
  t.is(backoff.size, 1);
  t.is(backoff.errorOf('c'), 'no');
  backoff.succeed('c');
  t.is(backoff.nextInMs(0), undefined);
  // From the beginning again.
  backoff.fail('c', 'no', 0);
  t.is(backoff.nextInMs(0), 100);
});
