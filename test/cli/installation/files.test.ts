import {
  lstatSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import {tmpdir} from 'node:os';
import {join} from 'node:path';
import test, {type ExecutionContext} from 'ava';
import {keepBackup, lookAt, restoreBackup, writeAtomically} from '../../../cli/installation/files.ts';

function makeFolder(t: ExecutionContext): string {
  const folder = mkdtempSync(join(tmpdir(), 'weft-files-'));
  t.teardown(() => rmSync(folder, {recursive: true, force: true}));
  return folder;
}

test('tells stubs of any build from foreign files', (t) => {
  const file = join(makeFolder(t), 'bridge');
  t.is(lookAt(file), 'nothing');
  for (const [content, occupant] of [
    ['#!/x/.weft/9.9.9/weft --plugin\n# weft 9.9.9 0123456789abcdef\n', 'weft'],
    ['\x7fELF and more\n# weft 1.0.0-rc.1 0123456789abcdef\n', 'weft'],
    ['#!/bin/sh\n', 'foreign'],
    ['', 'foreign'],
  ] as const) {
    writeFileSync(file, content);
    t.is(lookAt(file), occupant, content);
  }
  const link = join(file, '..', 'link');
  writeFileSync(file, '# weft 9.9.9 0123456789abcdef\n');
  symlinkSync('bridge', link);
  t.is(lookAt(link), 'foreign');
});

test('writing replaces a file, keeps nothing temporary, and sets the mode whatever the umask', (t) => {
  const folder = makeFolder(t);
  const file = join(folder, 'file');
  const umask = process.umask(0o077);
  t.teardown(() => process.umask(umask));
  for (const content of ['one', 'two']) writeAtomically(file, content, {mode: 0o755});
  t.is(readFileSync(file, 'utf8'), 'two');
  t.is(lstatSync(file).mode & 0o777, 0o755);
  t.deepEqual(readdirSync(folder), ['file']);
  t.throws(() => writeAtomically(join(folder, 'missing', 'file'), 'x', {mode: 0o644}));
});

test('a backup is the file itself, and comes back as it was', (t) => {
  const folder = makeFolder(t);
  const [file, link, kept] = [join(folder, 'file'), join(folder, 'link'), join(folder, 'backup', 'kept')];
  writeFileSync(file, 'theirs', {mode: 0o711});
  keepBackup(file, kept);
  writeAtomically(file, 'ours', {mode: 0o755});
  t.is(readFileSync(kept, 'utf8'), 'theirs');
  restoreBackup(kept, file);
  t.is(readFileSync(file, 'utf8'), 'theirs');
  t.is(lstatSync(file).mode & 0o777, 0o711);

  symlinkSync('/somewhere/else', link);
  keepBackup(link, kept);
  writeAtomically(link, 'ours', {mode: 0o755});
  restoreBackup(kept, link);
  t.is(readlinkSync(link), '/somewhere/else');
  t.throws(() => keepBackup(folder, kept), {message: /neither a file nor a link/});
});
