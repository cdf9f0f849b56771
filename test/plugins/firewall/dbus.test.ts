import {createServer} from 'node:net';
import {mkdtempSync, rmSync} from 'node:fs';
import {tmpdir} from 'node:os';
import path from 'node:path';
import test from 'ava';
import type {ExecutionContext} from 'ava';
import {SystemBus} from '../../../plugins/firewall/dbus.ts';

/** A bus that says what it is told to, in the order it is asked; gives the environment to reach it. */
async function serve(
  t: ExecutionContext,
  says: readonly (string | Buffer)[],
): Promise<{env: Record<string, string>}> {
  const directory = mkdtempSync(path.join(tmpdir(), 'weft-bus-'));
  const file = path.join(directory, 'socket');
  const server = createServer((socket) => {
    const left = [...says];
    socket.on('data', () => {
      const next = left.shift();
      if (next !== undefined) socket.write(next);
    });
    socket.on('error', () => {});
  });
  await new Promise<void>((resolve) => server.listen(file, resolve));
  t.teardown(() => {
    server.close();
    rmSync(directory, {recursive: true});
  });
  return {env: {DBUS_SYSTEM_BUS_ADDRESS: `tcp:host=x;unix:path=${file}`}};
}

test('a bus that is not there is an error that names its socket', async (t) => {
  const env = {DBUS_SYSTEM_BUS_ADDRESS: 'unix:path=/nonexistent/bus,guid=12'};
  await t.throwsAsync(SystemBus.open({env}), {message: 'system bus at /nonexistent/bus'});
});

test('an address without a unix socket is an error that names the variable', async (t) => {
  const env = {DBUS_SYSTEM_BUS_ADDRESS: 'tcp:host=localhost'};
  await t.throwsAsync(SystemBus.open({env}), {
    message: /^DBUS_SYSTEM_BUS_ADDRESS: "tcp:host=localhost" names no unix socket$/,
  });
});

test('a bus that refuses, that speaks something else, or that does not answer is an error', async (t) => {
  await t.throwsAsync(SystemBus.open(await serve(t, ['REJECTED EXTERNAL\r\n'])), {
    message: /does not let this user in: REJECTED/,
  });
  await t.throwsAsync(SystemBus.open(await serve(t, ['x'.repeat(20_000)])), {
    message: /speaks another protocol/,
  });
  await t.throwsAsync(SystemBus.open(await serve(t, ['OK 1\r\n', 'HTTP/1.1 400 Bad Request'])), {
    message: /no D-Bus message/,
  });
  await t.throwsAsync(SystemBus.open({...(await serve(t, [])), timeoutMs: 50}), {
    message: /did not answer within 50 ms/,
  });
});
