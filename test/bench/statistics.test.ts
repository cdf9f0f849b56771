import test from 'ava';
import {spreadOf} from '../../bench/statistics.ts';

test('median and 95th percentile lie between the nearest values', (t) => {
  t.deepEqual(spreadOf([5]), {count: 1, median: 5, p95: 5});
  t.is(spreadOf([4, 1, 3, 2]).median, 2.5);
  t.is(spreadOf([9, 1, 5]).median, 5);
  const hundred = Array.from({length: 101}, (_, i) => 100 - i);
  t.deepEqual(spreadOf(hundred), {count: 101, median: 50, p95: 95});
});

test('nothing measured is no result', (t) => {
  t.throws(() => spreadOf([]), {message: 'nothing was measured'});
});
