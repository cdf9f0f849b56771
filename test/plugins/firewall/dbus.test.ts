import {createServer} from 'node:net';
import {mkdtempSync, rmSync} from 'node:fs';
import {tmpdir} from 'node:os';
import path from 'node:path';
import test from 'ava';
import type {ExecutionContext} from 'ava';
import {SystemBus} from '../../../plugins/firewall/dbus.ts';

const hangUp = '';

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
      if (next === hangUp) socket.destroy();
      else if (next !== undefined) socket.write(next);
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

test('a bus that refuses, that speaks something else, that hangs up or does not answer is an error', async (t) => {
  const ask = async (says: readonly (string | Buffer)[], timeoutMs = 20_000) => {
    using bus = await SystemBus.open({...(await serve(t, says)), timeoutMs});
    return await bus.hasOwner('org.example');
  };
  const causeOf = async (promise: Promise<unknown>) => {
    const error = await t.throwsAsync(promise, {message: /^system bus at .*socket$/});
    return error?.cause instanceof Error ? error.cause.message : '';
  };
  t.regex(await causeOf(ask(['REJECTED EXTERNAL\r\n'])), /authentication.*REJECTED EXTERNAL/);
  await causeOf(ask(['OK 1\r\n', 'HTTP/1.1 400 Bad Request, and more of it\r\n']));
  await t.throwsAsync(ask(['OK 1\r\n', hangUp]), {message: /^Connection closed before a reply/});
  await t.throwsAsync(ask([], 50), {message: /did not answer within 50 ms/});
});

test('a call after the end is an error, and no line on stderr', async (t) => {
  const bus = await SystemBus.open(await serve(t, []));
  bus.close();
  await t.throwsAsync(bus.hasOwner('org.example'), {message: /was closed/});
});
