import {once} from 'node:events';
import {mkdtempSync, readdirSync, rmSync, statSync, unlinkSync} from 'node:fs';
import {connect, createServer, type Server} from 'node:net';
import {tmpdir} from 'node:os';
import {join} from 'node:path';
import test, {type ExecutionContext} from 'ava';
import {listenOnPath} from '../../agent/unix-socket.ts';

function makeFolder(t: ExecutionContext): string {
  const folder = mkdtempSync(join(tmpdir(), 'weft-socket-'));
  t.teardown(() => rmSync(folder, {recursive: true, force: true}));
  return folder;
}

/** A server that says its name to whoever connects. */
function makeServer(t: ExecutionContext, name: string): Server {
  const server = createServer((socket) => socket.end(name));
  t.teardown(() => server.close());
  return server;
}

async function ask(path: string): Promise<string> {
  const socket = connect(path);
  let text = '';
  socket.on('data', (chunk: Buffer) => (text += chunk.toString()));
  await once(socket, 'close');
  return text;
}

test('the socket is for root alone, its folder is made, and nothing else is left there', async (t) => {
  const path = join(makeFolder(t), 'sub', 'a.sock');
  const socket = await listenOnPath(makeServer(t, 'one'), {path});
  t.is(statSync(path).mode & 0o777, 0o600);
  t.is(await ask(path), 'one');
  t.true(socket.isCurrent);
  t.deepEqual(readdirSync(join(path, '..')), ['a.sock']);
  socket.remove();
  t.deepEqual(readdirSync(join(path, '..')), []);
});

test('a newer one takes the path over; the older one hears of it, and does not take it away', async (t) => {
  const path = join(makeFolder(t), 'a.sock');
  const replaced = Promise.withResolvers<void>();
  const older = await listenOnPath(makeServer(t, 'older'), {path, onReplaced: replaced.resolve});
  t.is(await ask(path), 'older');
  const newer = await listenOnPath(makeServer(t, 'newer'), {path});
  t.is(await ask(path), 'newer');
  await replaced.promise;
  t.false(older.isCurrent);
  older.remove();
  t.is(await ask(path), 'newer');
  newer.remove();
});

test('there is a listener at every moment of a change', async (t) => {
  const path = join(makeFolder(t), 'a.sock');
  await listenOnPath(makeServer(t, '0'), {path});
  let isOver = false;
  const asking = (async () => {
    let count = 0;
    for (; !isOver || count < 20; count++) t.regex(await ask(path), /^\d+$/);
    return count;
  })();
  for (let i = 1; i <= 20; i++) await listenOnPath(makeServer(t, String(i)), {path});
  isOver = true;
  t.true((await asking) >= 20);
});

test('what a dead process left is no obstacle', async (t) => {
  const path = join(makeFolder(t), 'a.sock');
  const dead = makeServer(t, 'dead');
  await listenOnPath(dead, {path});
  // Closing takes the name away that it was bound by, which is another one by now.
  await new Promise((resolve) => dead.close(resolve));
  await t.throwsAsync(ask(path));
  await listenOnPath(makeServer(t, 'alive'), {path});
  t.is(await ask(path), 'alive');
});

test('a path that was taken away is no successor', async (t) => {
  const path = join(makeFolder(t), 'a.sock');
  const socket = await listenOnPath(makeServer(t, 'one'), {path, onReplaced: () => t.fail()});
  unlinkSync(path);
  await new Promise((resolve) => setTimeout(resolve, 50));
  t.false(socket.isCurrent);
  t.notThrows(() => socket.remove());
});

test('a path that cannot be bound is named', async (t) => {
  const path = join(makeFolder(t), 'x'.repeat(120));
  await t.throwsAsync(listenOnPath(makeServer(t, ''), {path}), {message: /cannot listen on .*x{120}/});
});
