import {execFileSync, spawnSync} from 'node:child_process';
import {copyFileSync, mkdtempSync, readFileSync, rmSync} from 'node:fs';
import {tmpdir} from 'node:os';
import {join} from 'node:path';
import test from 'ava';
import {setRunpath} from '../../build/elf.ts';

test('the loader looks for libraries where the RUNPATH says, and the program runs as before', (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'weft-elf-'));
  t.teardown(() => rmSync(folder, {recursive: true, force: true}));
  const program = join(folder, 'env');
  copyFileSync('/usr/bin/env', program);
  setRunpath(program, '$ORIGIN/of-the-test');
  const {status, stdout, stderr} = spawnSync(program, [], {
    env: {LD_DEBUG: 'libs', SOME: 'thing'},
    encoding: 'utf8',
  });
  t.is(status, 0);
  t.regex(stdout, /^SOME=thing$/m);
  t.regex(stderr, new RegExp(`search path=\\S*${folder}/of-the-test\\S*\\s+\\(RUNPATH from file`));
  t.is(readFileSync(program).length, readFileSync('/usr/bin/env').length);

  t.throws(() => setRunpath(program, '$ORIGIN'), {message: /has a RUNPATH already/});
  execFileSync(program, {env: {}});
});

test('what is no ELF file is refused', (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'weft-elf-'));
  t.teardown(() => rmSync(folder, {recursive: true, force: true}));
  const file = join(folder, 'text');
  copyFileSync(new URL(import.meta.url), file);
  t.throws(() => setRunpath(file, '$ORIGIN'), {message: /is not a little-endian ELF64 file/});
});
