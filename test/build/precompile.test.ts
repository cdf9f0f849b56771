import {execFileSync} from 'node:child_process';
import {existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync} from 'node:fs';
import {tmpdir} from 'node:os';
import {join} from 'node:path';
import test from 'ava';
import * as esbuild from 'esbuild';
import {root} from '../../build/paths.ts';
import {isDeclared, precompile, readPrecompiledNames, withPrecompiling} from '../../build/precompile.ts';

test('functions that are listed are compiled without being called, others are not', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'weft-precompile-'));
  t.teardown(() => rmSync(folder, {recursive: true, force: true}));
  const file = join(folder, 'node_modules/some/file.ts');
  const source = `
    export function listed(): number { return 1; }
    export function unlisted(): number { return 2; }
    export class Some {
      static make(): Some { return new Some(); }
      method(): number { return 3; }
      get value(): number { return 4; }
      other(): number { return 5; }
    }
    export const table = {read: {u8: () => 6}, write: [(n: number) => n]};`;
  mkdirSync(join(folder, 'node_modules/some'), {recursive: true});
  writeFileSync(file, source);
  const names = {
    'node_modules/some/file.ts': [
      'listed',
      'renamed',
      'Gone.method',
      'Some.make',
      'Some.method',
      'Some.value',
      'table',
    ],
  };
  const {outputFiles} = await esbuild.build({
    entryPoints: [file],
    bundle: true,
    write: false,
    format: 'cjs',
    plugins: [precompile(names)],
  });
  writeFileSync(join(folder, 'script.cjs'), withPrecompiling(outputFiles[0]!.text));
  const flags = ['--log-function-events', `--logfile=${folder}/v8.log`, '--no-logfile-per-isolate'];
  execFileSync(process.execPath, [...flags, join(folder, 'script.cjs')], {env: {}});
  const log = readFileSync(join(folder, 'v8.log'), 'utf8');
  const id = /^script-details,(\d+),[^,\n]*script\.cjs,/m.exec(log)?.[1];
  const compiled = [
    ...log.matchAll(new RegExp(`^function,interpreter[^,]*,${id},.*,(?:get )?(\\w*)$`, 'gm')),
  ];
  const found = compiled.map(([, name]) => name);
  for (const name of ['listed', 'make', 'method', 'value', 'u8']) t.true(found.includes(name), name);
  for (const name of ['unlisted', 'other']) t.false(found.includes(name), name);
  t.notRegex(
    log,
    new RegExp(`^function,first-execution[^,]*,${id},.*,(?:get )?(listed|make|method|value|u8)$`, 'm'),
  );
});

test('the list is up to date but for a few renamed functions: write it anew with `node bench/precompiled.ts`', (t) => {
  const listed = Object.entries(readPrecompiledNames()).flatMap(([file, names]) =>
    names.map((name) => ({file, name})),
  );
  const missing = listed.filter(({file, name}) => {
    const source = existsSync(join(root, file)) ? readFileSync(join(root, file), 'utf8') : '';
    const [top = '', member] = name.split('.');
    return !isDeclared(top, source) || (member !== undefined && !source.includes(member));
  });
  t.true(listed.length > 300);
  t.true(missing.length < listed.length / 5, missing.map(({file, name}) => `${file}: ${name}`).join('\n'));
});
