import {spawn} from 'node:child_process';
import {once} from 'node:events';
import test from 'ava';

const stdio = new URL('../../../lib/cni/stdio.ts', import.meta.url).href;

// Node gives a child's pipes to it as non-blocking sockets: a write stops at the socket's buffer.
test('stdin and stdout of any size pass through non-blocking pipes with a slow peer', async (t) => {
  const script = `
    import {processIo} from ${JSON.stringify(stdio)};
    const io = processIo(process.env);
    const text = await io.stdin();
    io.stderr('read');
    await io.stdout(text);
  `;
  const child = spawn(process.execPath, ['--input-type=module', '-e', script], {stdio: 'pipe'});
  const text = 'x'.repeat(400_000);
  child.stdin.write(text.slice(0, 1000));
  await new Promise((resolve) => setTimeout(resolve, 100));
  child.stdin.end(text.slice(1000));
  // The child has written all it can by the time somebody reads.
  await once(child.stderr, 'data');
  await new Promise((resolve) => setTimeout(resolve, 100));
  let length = 0;
  child.stdout.on('data', (chunk: Buffer) => (length += chunk.length));
  const [code] = (await once(child, 'close')) as [number];
  t.deepEqual({code, length}, {code: 0, length: text.length});
});
