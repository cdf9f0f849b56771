import {mkdtempSync, rmSync, writeFileSync} from 'node:fs';
import {tmpdir} from 'node:os';
import {join} from 'node:path';
import test from 'ava';
import {checkWritable} from '../../lib/writable.ts';

test('a directory that is there, or could be made', (t) => {
  const root = mkdtempSync(join(tmpdir(), 'weft-writable-'));
  t.teardown(() => rmSync(root, {recursive: true}));
  t.notThrows(() => checkWritable(root));
  t.notThrows(() => checkWritable(join(root, 'a/b/c')));
});

test('what is in the way is named', (t) => {
  const root = mkdtempSync(join(tmpdir(), 'weft-writable-'));
  t.teardown(() => rmSync(root, {recursive: true}));
  writeFileSync(join(root, 'file'), '');
  t.throws(() => checkWritable(join(root, 'file/below')), {
    message: `cannot write to ${join(root, 'file/below')}: not a directory`,
  });
});
