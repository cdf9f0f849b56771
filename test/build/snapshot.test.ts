import {execFileSync} from 'node:child_process';
import {mkdtempSync, readFileSync, rmSync, writeFileSync} from 'node:fs';
import {tmpdir} from 'node:os';
import {join} from 'node:path';
import test from 'ava';
import {dropCompiledModules} from '../../build/snapshot.ts';

test('a blob loses the compiled code of most modules and nothing else', (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'weft-snapshot-'));
  t.teardown(() => rmSync(folder, {recursive: true, force: true}));
  writeFileSync(
    join(folder, 'main.cjs'),
    `require('node:v8').startupSnapshot.setDeserializeMainFunction(() => {});`,
  );
  writeFileSync(join(folder, 'asset'), 'an asset of the test');
  writeFileSync(
    join(folder, 'sea.json'),
    JSON.stringify({main: 'main.cjs', output: 'blob', useSnapshot: true, assets: {one: 'asset'}}),
  );
  execFileSync(process.execPath, ['--experimental-sea-config', 'sea.json'], {cwd: folder, stdio: 'ignore'});
  const blob = readFileSync(join(folder, 'blob'));
  const small = dropCompiledModules(blob);

  t.true(small.length < blob.length - 3_000_000, `${blob.length} to ${small.length} bytes`);
  // The header but for one length, the start of the snapshot, and what follows it.
  const start = blob.indexOf(Buffer.from([0x19, 0xda, 0x43, 0x01]));
  t.deepEqual(small.subarray(0, start - 8), blob.subarray(0, start - 8));
  t.deepEqual(small.subarray(start, start + 1_000_000), blob.subarray(start, start + 1_000_000));
  const end = start + Number(blob.readBigUInt64LE(start - 8));
  t.deepEqual(small.subarray(start + Number(small.readBigUInt64LE(start - 8))), blob.subarray(end));
  t.true(small.includes('an asset of the test'));
  // A blob that has lost them already has no list as long as Node's.
  t.throws(() => dropCompiledModules(small), {message: /does not end with the compiled code/});
});

test('what is no such blob is refused', (t) => {
  t.throws(() => dropCompiledModules(Buffer.alloc(100)), {message: /holds no start-up snapshot/});
});
