import {mkdtempSync, rmSync, statSync} from 'node:fs';
import {tmpdir} from 'node:os';
import {join} from 'node:path';
import test, {type ExecutionContext} from 'ava';
import {Registry} from 'prom-client';
import {createCniMetrics} from '../../../agent/cni/metrics.ts';
import {CniServer} from '../../../agent/cni/server.ts';
import {
  callWarm,
  encodeFrame,
  encodeRequest,
  openWarm,
  RefusedError,
  type WarmCall,
} from '../../../integration/harness/warm-client.ts';
import type {PluginIo} from '../../../lib/cni/skel.ts';
import {openLog} from '../../../lib/log.ts';

const release = '# weft 0.1.0 0123456789abcdef\n';

interface Setting {
  readonly call?: (name: string, io: PluginIo) => Promise<number>;
  readonly maxCalls?: number;
  readonly maxBytes?: number;
  readonly timeoutMs?: number;
}

/** A server whose plugins do what a test says; by default they print what they are given. */
async function start(
  t: ExecutionContext,
  {call = echo, maxCalls = 100, maxBytes, timeoutMs = 30_000}: Setting = {},
) {
  const folder = mkdtempSync(join(tmpdir(), 'weft-cni-'));
  const path = join(folder, 'cni.sock');
  const metrics = new Registry();
  const server: CniServer = new CniServer({
    path,
    calls: {trailer: release, has: (name) => name === 'bridge', call, close() {}},
    maxCalls,
    ...(maxBytes !== undefined && {maxBytes}),
    timeoutMs,
    log: openLog({level: 'silent'}),
    metrics: createCniMetrics(metrics, () => server.size),
  });
  await server.start();
  let stopped: Promise<void> | undefined;
  const stop = () => (stopped ??= server.stop());
  t.teardown(async () => {
    await stop();
    rmSync(folder, {recursive: true});
  });
  const request: WarmCall = {socket: path, name: 'bridge', release, env: {CNI_COMMAND: 'ADD'}, stdin: '{}'};
  return {path, server, request, stop, figures: () => metrics.metrics()};
}

async function echo(name: string, io: PluginIo): Promise<number> {
  io.stderr(`${name}\n`);
  await io.stdout(JSON.stringify({env: io.env, stdin: await io.stdin(), caller: io.caller}));
  return 3;
}

test('a call gets what its client has, and nothing of this process', async (t) => {
  const {request, figures} = await start(t);
  const env = {CNI_COMMAND: 'ADD', CNI_ARGS: 'A=1;B=\u00e4', NODE_OPTIONS: '--inspect', EMPTY: ''};
  const reply = await callWarm({...request, env, stdin: '{"a": "\u00e4"}', cwd: '/usr'});
  t.is(reply.code, 3);
  t.is(reply.stderr, 'bridge\n');
  const {NODE_OPTIONS: _, ...expected} = env;
  t.deepEqual(JSON.parse(reply.stdout), {
    env: expected,
    stdin: '{"a": "\u00e4"}',
    caller: {pid: process.pid, cwd: '/usr'},
  });
  t.regex(await figures(), /^weft_cni_calls_total\{plugin="bridge",command="ADD",code="3"\} 1$/m);
});

test('large requests and answers', async (t) => {
  const {request} = await start(t);
  const stdin = 'x'.repeat(1 << 20);
  const reply = await callWarm({...request, stdin, env: {CNI_COMMAND: 'ADD', BIG: 'y'.repeat(900_000)}});
  t.is((JSON.parse(reply.stdout) as {stdin: string}).stdin, stdin);
});

const ownInode = (kind: string) => statSync(`/proc/self/ns/${kind}`, {bigint: true}).ino;
const netnsEnv = {CNI_COMMAND: 'ADD', CNI_NETNS: '/proc/self/ns/net'};

for (const [why, change, message] of [
  ['another release', {release: '# weft 0.1.0 fedcba9876543210\n'}, /^the caller is of "# weft 0\.1\.0 fed/],
  ['no such plugin', {name: 'nonsense'}, 'no plugin "nonsense"'],
  ['another process than it says', {pid: 1}, /^the caller's process is \d+, not 1$/],
  ['another net namespace', {namespaces: {net: 1n}}, 'another net namespace'],
  ['another mnt namespace', {namespaces: {mnt: 1n}}, 'another mnt namespace'],
  ['another pid namespace', {namespaces: {pid: 1n}}, 'another pid namespace'],
  ['another user namespace', {namespaces: {user: 1n}}, 'another user namespace'],
  ['another umask', {umask: 0o7}, /^umask 7 instead of/],
  ['another version', {version: 2}, 'version 2 of the protocol; this agent speaks 1'],
  ['a descriptor that is another file', {env: netnsEnv, fd: 0}, 'the descriptor is not what the caller says'],
  ['a descriptor that is not there', {env: netnsEnv, fd: 4000}, 'the descriptor is not what the caller says'],
  ['another inode', {env: netnsEnv, inode: 1n}, 'the descriptor is not what the caller says'],
  ['another device', {env: netnsEnv, device: 1n}, 'the descriptor is not what the caller says'],
  [
    'a namespace that the caller does not see',
    {env: netnsEnv, fd: -1},
    'the caller does not see /proc/self/ns/net',
  ],
  ['a relative path', {cwd: '/usr', stdin: '{"ipam": {"dataDir": "data"}}'}, 'a path relative to /usr'],
  ['a folder that is gone', {cwd: '/nonexistent (deleted)'}, 'no folder /nonexistent (deleted)'],
] as const) {
  test(`refused: ${why}`, async (t) => {
    const {request, figures} = await start(t, {
      call: () => {
        t.fail('it was called');
        return Promise.resolve(0);
      },
    });
    await t.throwsAsync(callWarm({...request, ...change}), {instanceOf: RefusedError, message});
    t.regex(await figures(), /^weft_cni_refused_total [01]$/m);
  });
}

test('a container namespace that both see is served; one that nobody sees as well, for DEL', async (t) => {
  const {request} = await start(t);
  t.is(ownInode('net'), statSync('/proc/self/ns/net', {bigint: true}).ino);
  for (const CNI_NETNS of ['/proc/self/ns/net', '/run/netns/nonexistent', '']) {
    t.is((await callWarm({...request, env: {CNI_COMMAND: 'DEL', CNI_NETNS}})).code, 3);
  }
});

test('calls of one container happen in the order of asking, of others at the same time', async (t) => {
  const log: string[] = [];
  const gates = new Map(['a ADD', 'a DEL', 'b ADD'].map((name) => [name, Promise.withResolvers<void>()]));
  const begun = new Map([...gates.keys()].map((name) => [name, Promise.withResolvers<void>()]));
  const {request, server} = await start(t, {
    async call(_, {env}) {
      const name = `${env['CNI_CONTAINERID']} ${env['CNI_COMMAND']}`;
      log.push(`begin ${name}`);
      begun.get(name)!.resolve();
      await gates.get(name)!.promise;
      log.push(`end ${name}`);
      return 0;
    },
  });
  const call = (id: string, command: string) =>
    callWarm({...request, env: {CNI_COMMAND: command, CNI_CONTAINERID: id}});
  const calls = [call('a', 'ADD')];
  await begun.get('a ADD')!.promise;
  calls.push(call('a', 'DEL'), call('b', 'ADD'));
  await begun.get('b ADD')!.promise;
  while (server.size < 3) await new Promise(setImmediate);
  t.deepEqual(log, ['begin a ADD', 'begin b ADD']);
  for (const gate of gates.values()) gate.resolve();
  await Promise.all(calls);
  t.true(log.indexOf('end a ADD') < log.indexOf('begin a DEL'));
});

/** Whatever was sent before a whole call has been read when it is answered. */
async function seen(request: WarmCall): Promise<void> {
  for (let i = 0; i < 2; i++) await callWarm({...request, env: {CNI_COMMAND: 'VERSION'}});
}

test('an ADD whose client is gone hears of it at its stdout', async (t) => {
  const begun = Promise.withResolvers<void>();
  const goOn = Promise.withResolvers<void>();
  const heard = Promise.withResolvers<Error>();
  const {request, figures, server} = await start(t, {
    async call(_, io) {
      if (io.env['CNI_COMMAND'] === 'VERSION') return 0;
      begun.resolve();
      await goOn.promise;
      await io.stdout('{}').catch(heard.resolve);
      return 1;
    },
  });
  const connection = await openWarm(request.socket);
  connection.socket.write(encodeFrame(1, encodeRequest(request).payload));
  await connection.next();
  connection.socket.write(encodeFrame(3));
  await begun.promise;
  connection.socket.destroy();
  await seen(request);
  goOn.resolve();
  t.is((await heard.promise).message, 'write EPIPE: the caller is gone');
  while (server.size > 0) await new Promise(setImmediate);
  t.regex(await figures(), /^weft_cni_undelivered_total 1$/m);
});

test('a call whose client is gone before its turn is not made', async (t) => {
  const begun = Promise.withResolvers<void>();
  const gate = Promise.withResolvers<void>();
  const commands: (string | undefined)[] = [];
  const {request, server} = await start(t, {
    async call(_, {env}) {
      if (env['CNI_COMMAND'] === 'VERSION') return 0;
      commands.push(env['CNI_COMMAND']);
      begun.resolve();
      await gate.promise;
      return 0;
    },
  });
  const envOf = (command: string) => ({CNI_COMMAND: command, CNI_CONTAINERID: 'a'});
  const first = callWarm({...request, env: envOf('ADD')});
  await begun.promise;
  const connection = await openWarm(request.socket);
  connection.socket.write(encodeFrame(1, encodeRequest({...request, env: envOf('CHECK')}).payload));
  await connection.next();
  connection.socket.write(encodeFrame(3));
  await seen(request);
  connection.socket.destroy();
  await seen(request);
  gate.resolve();
  await first;
  while (server.size > 0) await new Promise(setImmediate);
  t.deepEqual(commands, ['ADD']);
});

test('while it stops, calls under way and those with a promise are finished, others are sent away', async (t) => {
  const begun = Promise.withResolvers<void>();
  const gate = Promise.withResolvers<void>();
  const {request, stop} = await start(t, {
    async call(_, io) {
      if (io.env['CNI_COMMAND'] === 'VERSION') return 0;
      begun.resolve();
      await gate.promise;
      await io.stdout('done');
      return 0;
    },
  });
  const running = callWarm(request);
  await begun.promise;
  const promised = await openWarm(request.socket);
  promised.socket.write(encodeFrame(1, encodeRequest(request).payload));
  t.is((await promised.next()).type, 2);
  const silent = await openWarm(request.socket);
  // Accepted: what was written before was answered.
  silent.socket.write(encodeFrame(1, encodeRequest(request).payload).subarray(0, 20));
  await seen(request);
  const stopped = stop();
  const refusal = await silent.next();
  t.deepEqual([refusal.type, refusal.payload.toString()], [5, 'the agent is stopping']);
  await t.throwsAsync(openWarm(request.socket), {message: /ENOENT/});
  promised.socket.write(encodeFrame(3));
  gate.resolve();
  t.like(await running, {code: 0, stdout: 'done'});
  const answer = await promised.next();
  t.is(answer.type, 4);
  promised.socket.destroy();
  await stopped;
});

test('more calls than allowed are sent away', async (t) => {
  const gate = Promise.withResolvers<void>();
  const {request, server} = await start(t, {
    maxCalls: 2,
    async call() {
      await gate.promise;
      return 0;
    },
  });
  const calls = [callWarm(request), callWarm(request)];
  while (server.size < 2) await new Promise(setImmediate);
  await t.throwsAsync(callWarm(request), {instanceOf: RefusedError, message: 'more than 2 calls at once'});
  gate.resolve();
  await Promise.all(calls);
  while (server.size > 0) await new Promise(setImmediate);
  t.is((await callWarm(request)).code, 0);
});

test('requests that together are too large are sent away, whole or not', async (t) => {
  const gate = Promise.withResolvers<void>();
  const {request, server} = await start(t, {
    maxBytes: 1_500_000,
    async call() {
      await gate.promise;
      return 0;
    },
  });
  const large = {...request, stdin: 'x'.repeat(1 << 20)};
  const first = callWarm(large);
  while (server.size < 1) await new Promise(setImmediate);
  const refused = {instanceOf: RefusedError, message: 'too much is being asked at once'};
  await t.throwsAsync(callWarm(large), refused);
  const connection = await openWarm(request.socket);
  connection.socket.write(encodeFrame(1, encodeRequest(large).payload).subarray(0, 600_000));
  t.is((await connection.next()).payload.toString(), refused.message);
  const second = callWarm(request);
  gate.resolve();
  await Promise.all([first, second]);
  while (server.size > 0) await new Promise(setImmediate);
  t.is((await callWarm(large)).code, 0);
});

test('a client that says nothing, or stops in the middle, is left after a while', async (t) => {
  const {request, server} = await start(t, {timeoutMs: 500});
  const whole = encodeFrame(1, encodeRequest(request).payload);
  for (const bytes of [Buffer.alloc(0), whole.subarray(0, 4), whole.subarray(0, 40), whole]) {
    const {socket} = await openWarm(request.socket);
    socket.write(bytes);
    // Not `once` of node:events: a reset is as good an end.
    await new Promise((resolve) => socket.once('close', resolve));
  }
  while (server.size > 0) await new Promise(setImmediate);
  t.is((await callWarm(request)).code, 3);
});

for (const [what, bytes, reason] of [
  ['go without a request', encodeFrame(3), 'a frame of type 3 while asked'],
  ['an unknown frame', encodeFrame(77), 'a frame of type 77 while asked'],
  ['a request of nothing', encodeFrame(1), 'a request of 0 bytes'],
  ['a frame of four gigabytes', Buffer.from('ffffffff01000000', 'hex'), /^a frame of 4294967295 bytes/],
  ['HTTP', Buffer.from('GET /livez HTTP/1.1\r\n\r\n'), /^a frame of \d+ bytes/],
] as const) {
  test(`survived: ${what}`, async (t) => {
    const {request} = await start(t);
    const connection = await openWarm(request.socket);
    connection.socket.write(bytes);
    const {type, payload} = await connection.next();
    t.is(type, 5);
    if (typeof reason === 'string') t.is(payload.toString(), reason);
    else t.regex(payload.toString(), reason);
    t.is((await callWarm(request)).code, 3);
  });
}

test('an answer that is too large ends the connection, and nothing else', async (t) => {
  const {request} = await start(t, {
    async call(_, io) {
      if (io.env['CNI_COMMAND'] === 'GC') await io.stdout('x'.repeat(17 << 20));
      return 0;
    },
  });
  await t.throwsAsync(callWarm({...request, env: {CNI_COMMAND: 'GC'}}));
  t.is((await callWarm(request)).code, 0);
});
