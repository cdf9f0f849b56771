import {readFileSync} from 'node:fs';
import test from 'ava';
import {ignoreLockOrder} from '../../build/lock-checks.ts';
import {getPinnedNode} from '../../build/node.ts';

test('the pinned Node has the check, once, and one byte turns it off', (t) => {
  const before = readFileSync(getPinnedNode());
  const image = Buffer.from(before);
  t.true(ignoreLockOrder(image));
  t.false(ignoreLockOrder(image), 'it is off already');
  const changed: number[] = [];
  const page = 4096;
  for (let start = 0; start < image.length; start += page) {
    const [own, original] = [image, before].map((each) => each.subarray(start, start + page)) as [
      Buffer,
      Buffer,
    ];
    if (!own.equals(original)) changed.push(...[...own.keys()].filter((i) => own[i] !== original[i]));
  }
  t.is(changed.length, 1);
});

test('what is no such program stays as it is', (t) => {
  const text = Buffer.from('a text');
  t.false(ignoreLockOrder(text));
  t.is(text.toString(), 'a text');
  const other = readFileSync('/bin/true');
  t.false(ignoreLockOrder(other));
});
