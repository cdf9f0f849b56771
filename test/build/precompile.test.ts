import {execFileSync} from 'node:child_process';
import {mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync} from 'node:fs';
import {tmpdir} from 'node:os';
import {join} from 'node:path';
import test from 'ava';
import * as esbuild from 'esbuild';
import {root} from '../../build/paths.ts';
import {precompile, readPrecompiledNames, withPrecompiling} from '../../build/precompile.ts';

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
  const names = {'node_modules/some/file.ts': ['listed', 'Some.make', 'Some.method', 'Some.value', 'table']};
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

test('the list names what is there: otherwise write it anew with `node bench/precompiled.ts`', (t) => {
  const missing = Object.entries(readPrecompiledNames()).flatMap(([file, names]) => {
    const source = readFileSync(join(root, file), 'utf8');
    return names
      .filter((name) => {
        const [top = '', member] = name.split('.');
        const isThere = new RegExp(`\\b(?:function\\*?|class|const|let|var) ${top}\\b`).test(source);
        return !isThere || (member !== undefined && !new RegExp(`\\b${member}\\b`).test(source));
      })
      .map((name) => `${file}: ${name}`);
  });
  t.deepEqual(missing, []);
});
