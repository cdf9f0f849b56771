import {readFileSync} from 'node:fs';
import test from 'ava';
import {getPinnedNode} from '../../build/node.ts';
import {takeShortcuts} from '../../build/shortcuts.ts';
import {readSnapshotInPlace} from '../../build/snapshot-in-place.ts';
import {findSymbol, renameImport} from '../../build/symbols.ts';

const x64 = process.arch === 'x64';

function countChanges(before: Buffer, after: Buffer): number {
  let count = 0;
  const page = 4096;
  for (let start = 0; start < before.length; start += page) {
    const [one, other] = [before, after].map((each) => each.subarray(start, start + page)) as [
      Buffer,
      Buffer,
    ];
    if (!one.equals(other)) count += [...one.keys()].filter((i) => one[i] !== other[i]).length;
  }
  return count;
}

test('the pinned Node has all that is cut short', (t) => {
  const before = readFileSync(getPinnedNode());
  const image = Buffer.from(before);
  const missing = takeShortcuts(image);
  t.deepEqual(missing, x64 ? [] : ['_ZN7ncrypto6CSPRNGEPvm']);
  const changes = countChanges(before, image);
  t.true(changes > 0 && changes < 30, `${changes} bytes`);
});

test('the pinned Node reads its snapshot by the code that is replaced', (t) => {
  const before = readFileSync(getPinnedNode());
  const image = Buffer.from(before);
  t.is(readSnapshotInPlace(image), x64);
  t.false(readSnapshotInPlace(image), 'that code is gone now');
  const changes = countChanges(before, image);
  t.true(changes <= 40, `${changes} bytes`);
});

test('what is no such program stays as it is', (t) => {
  const original = readFileSync('/bin/true');
  const image = Buffer.from(original);
  t.false(readSnapshotInPlace(image));
  t.is(findSymbol(image, 'main'), undefined);
  t.false(renameImport(image, 'no_such_function', 'exit'));
  t.false(renameImport(image, 'exit', 'no_such_function'));
  t.true(image.equals(original));
  const text = Buffer.alloc(100, 'text');
  t.true(takeShortcuts(text).length > 0);
  t.is(text.toString(), 'text'.repeat(25));
});
