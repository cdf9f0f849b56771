import {mkdtempSync, realpathSync, rmSync, symlinkSync, writeFileSync} from 'node:fs';
import {tmpdir} from 'node:os';
import {join} from 'node:path';
import test from 'ava';
import {isOwnFile} from '../../cli/builtin.ts';
import {formatTrailer} from '../../cli/release.ts';
import {formatStub} from '../../cli/stub.ts';

const release = {version: '0.1.0', id: '0123456789abcdef'};
const trailer = formatTrailer(release);
const folder = realpathSync(mkdtempSync(join(tmpdir(), 'weft-builtin-')));
test.after.always(() => rmSync(folder, {recursive: true, force: true}));

const program = join(folder, 'weft');
writeFileSync(program, 'the program');
const own = {program, trailer};

function put(name: string, content: string): string {
  const file = join(folder, name);
  writeFileSync(file, content);
  return file;
}

test('the program and links to it are ours', (t) => {
  const link = join(folder, 'bridge');
  symlinkSync('weft', link);
  t.true(isOwnFile(program, own));
  t.true(isOwnFile(link, own));
});

test('a stub of this build is ours, wherever it leads', (t) => {
  t.true(isOwnFile(put('stub', formatStub({program: '/opt/cni/bin/.weft/0.1.0/weft', trailer})), own));
  t.true(isOwnFile(put('client', `\x7fELF\0\xff${trailer}`), own));
});

test('the files of another build and foreign ones are not', (t) => {
  for (const other of [
    {...release, version: '0.1.1'},
    {...release, id: '0123456789abcdee'},
  ]) {
    t.false(isOwnFile(put('other', formatStub({program: '/x/weft', trailer: formatTrailer(other)})), own));
  }
  t.false(isOwnFile(put('foreign', '#!/bin/sh\n'), own));
  t.false(isOwnFile(put('empty', ''), own));
  t.false(isOwnFile(put('in-the-middle', `${trailer}more`), own));
  t.false(isOwnFile(join(folder, 'missing'), own));
});
