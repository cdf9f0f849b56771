import {mkdtempSync, readFileSync, rmSync, writeFileSync} from 'node:fs';
import {tmpdir} from 'node:os';
import {join} from 'node:path';
import test, {type ExecutionContext} from 'ava';
import {IndexError, IndexFile} from '../../../lib/store/index-file.ts';

function makeFile(t: ExecutionContext, content: Buffer): string {
  const folder = mkdtempSync(join(tmpdir(), 'weft-index-'));
  t.teardown(() => rmSync(folder, {recursive: true}));
  const path = join(folder, 'index');
  writeFileSync(path, content);
  return path;
}

/** Every 16 bits are different. */
function numbers(size: number): Buffer {
  const bytes = Buffer.alloc(size);
  for (let at = 0; at < size; at += 2) bytes.writeUInt16LE(at / 2, at);
  return bytes;
}

test('what is read is what is in the file, within a block and across several', (t) => {
  const content = numbers(40_000);
  const file = new IndexFile(makeFile(t, content));
  for (const [offset, length] of [
    [0, 128],
    [8000, 400],
    [8191, 2],
    [100, 30_000],
    [39_990, 10],
    [0, 40_000],
  ] as const)
    t.true(file.read(offset, length).equals(content.subarray(offset, offset + length)), `${offset}`);
  t.throws(() => file.read(39_990, 11), {instanceOf: IndexError});
  t.throws(() => file.read(50_000, 1), {instanceOf: IndexError});
  file.close();
});

test('what is written is read at once, and is in the file when it is flushed', (t) => {
  const content = numbers(40_000);
  const path = makeFile(t, content);
  const file = new IndexFile(path);
  const expected = Buffer.from(content);
  for (const [offset, length] of [
    [16, 64],
    [8180, 40],
    [30_000, 4],
    [84, 4],
  ] as const) {
    const bytes = Buffer.alloc(length, 0xab);
    file.write(offset, bytes);
    bytes.copy(expected, offset);
    t.true(file.read(offset, length).equals(bytes));
  }
  t.true(file.read(0, 40_000).equals(expected));
  t.true(readFileSync(path).equals(content), 'not yet');
  file.flush();
  t.true(readFileSync(path).equals(expected));
  file.close();
});

test('without a flush nothing is in the file', (t) => {
  const content = numbers(1000);
  const path = makeFile(t, content);
  const file = new IndexFile(path);
  file.write(10, Buffer.alloc(100));
  file.close();
  t.true(readFileSync(path).equals(content));
});
