import test from 'ava';
import {trunkVlans} from '../../../plugins/bridge/vlan.ts';
import type {TrunkEntry} from '../../../plugins/bridge/vlan.ts';

test('vlanTrunk gives every id once, ascending', (t) => {
  t.deepEqual(trunkVlans([]), []);
  t.deepEqual(trunkVlans([{minID: 101, maxID: 103}, {id: 5}, {id: 102}, {id: 5}]), [5, 101, 102, 103]);
  t.deepEqual(trunkVlans([{id: 7, minID: 1, maxID: 2}]), [1, 2, 7]);
  t.is(trunkVlans([{minID: 1, maxID: 4094}]).length, 4094);
});

const refuses = test.macro((t, entry: TrunkEntry, message: string) => {
  const error = t.throws(() => trunkVlans([{id: 1}, entry]));
  t.is(error?.message, `${message}: vlanTrunk[1] is ${JSON.stringify(entry)}; ids go from 1 to 4094`);
});

const both = 'minID and maxID should be configured simultaneously';
test('vlanTrunk refuses a minID alone', refuses, {minID: 3}, `${both}, maxID is missing`);
test('vlanTrunk refuses a maxID alone', refuses, {maxID: 3}, `${both}, minID is missing`);
test('vlanTrunk refuses minID 0', refuses, {minID: 0, maxID: 3}, 'incorrect trunk minID parameter');
test('vlanTrunk refuses maxID 4095', refuses, {minID: 1, maxID: 4095}, 'incorrect trunk maxID parameter');
test(
  'vlanTrunk refuses a range that runs backwards',
  refuses,
  {minID: 9, maxID: 3},
  'minID is greater than maxID in trunk parameter',
);
test('vlanTrunk refuses id 4095', refuses, {id: 4095}, 'incorrect trunk id parameter');
test('vlanTrunk refuses id 0', refuses, {id: 0}, 'incorrect trunk id parameter');
