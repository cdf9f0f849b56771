import test from 'ava';
import {planMaglev} from '../../../agent/services/maglev.ts';
import {interleave, planSlots, reduceWeights, type Target} from '../../../agent/services/slots.ts';

const target = (name: number, weight = 1): Target => ({address: `10.0.0.${name}`, port: 80, weight});
const names = (targets: readonly Target[]) =>
  targets.map(({address}) => address.slice('10.0.0.'.length)).join('');

function countShares(slots: readonly Target[]): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const {address} of slots) counts[address] = (counts[address] ?? 0) + 1;
  return counts;
}

test('in turns and at random everybody has one slot', (t) => {
  const targets = [target(1, 5), target(2), target(3)];
  t.deepEqual(planSlots('roundRobin', targets), {by: 'inc', slots: targets});
  t.deepEqual(planSlots('random', targets), {by: 'random', slots: targets});
});

test('weights are slots, parted from each other', (t) => {
  t.is(names(interleave([target(1, 5), target(2), target(3)])), '1121311');
  t.is(names(interleave([target(1, 50), target(2, 30), target(3, 20)])), '1231121321');
  t.is(planSlots('weighted', [target(1, 2), target(2, 1)]).by, 'inc');
  t.is(planSlots('leastLatency', [target(1, 2), target(2, 1)]).by, 'random');
});

test('weights are reduced, and never make a large table', (t) => {
  t.deepEqual(reduceWeights([50, 30, 20]), [5, 3, 2]);
  const reduced = reduceWeights([997, 1, 499]);
  t.true(reduced.reduce((a, b) => a + b) <= 258);
  t.is(reduced[1], 1);
  t.deepEqual(
    reduceWeights(Array.from({length: 300}, (_, i) => i + 1)),
    Array.from({length: 300}, () => 1),
  );
  t.deepEqual(reduceWeights([]), []);
});

test('a hashed table is shared evenly, by weight', (t) => {
  const shares = Object.values(countShares(planMaglev([1, 2, 3, 4, 5].map((name) => target(name)))));
  t.true(Math.max(...shares) - Math.min(...shares) <= 2, String(shares));
  const weighted = countShares(planMaglev([target(1, 3), target(2, 1)]));
  t.true(Math.abs(weighted['10.0.0.1']! / 251 - 0.75) < 0.02);
  t.is(planMaglev(Array.from({length: 300}, (_, i) => ({...target(1), port: i + 1}))).length, 1021);
  t.deepEqual(planMaglev([]), []);
});

test('when one goes, the others keep most of their slots', (t) => {
  const targets = [1, 2, 3, 4, 5].map((name) => target(name));
  const before = planMaglev(targets);
  const after = planMaglev(targets.slice(1));
  const moved = before.filter(
    (each, i) => each.address !== '10.0.0.1' && each.address !== after[i]!.address,
  ).length;
  t.true(moved < 251 * 0.2, String(moved));
});
