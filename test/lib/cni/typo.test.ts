import test from 'ava';
import {editDistance, findIntended} from '../../../lib/cni/typo.ts';

for (const [a, b, distance] of [
  ['', '', 0],
  ['abc', 'abc', 0],
  ['abc', 'ab', 1],
  ['abc', 'abxc', 1],
  ['abc', 'axc', 1],
  ['abc', 'acb', 1],
  ['abcd', 'badc', 2],
  ['abc', 'xyz', 3],
  ['', 'abc', 3],
] as const) {
  test(`from "${a}" to "${b}" it is ${distance}`, (t) => {
    t.is(editDistance(a, b), distance);
    t.is(editDistance(b, a), distance);
  });
}

test('a key in another case is no slip', (t) => t.is(findIntended('ISGATEWAY', ['isGateway']), undefined));
test('a key of one or two letters has no look-alikes', (t) =>
  t.is(findIntended('gv', ['gw', 'id']), undefined));
