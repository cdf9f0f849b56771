import {spawn} from 'node:child_process';
import {once} from 'node:events';
import {
  closeSync,
  constants,
  mkdirSync,
  openSync,
  readSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import {createServer, type Socket} from 'node:net';
import path from 'node:path';
import {setTimeout as sleep} from 'node:timers/promises';
import type {ExecutionContext} from 'ava';
import {
  formatAnswer,
  formatFrame,
  frameTypes,
  parseRequest,
  type WarmRequest,
} from '../agent/cni/protocol.ts';
import {formatTrailer} from '../cli/release.ts';
import {callEnv, makeTestClient, onFrames, release, startAgent, type TestClient} from './harness/client.ts';
import {runCommand, type Output} from './harness/command.ts';
import {testWith} from './harness/needs.ts';

// The native client between callers and agents of any kind. Root, because an agent that is not root is none.

const test = testWith('root', 'cc');
const conf = '{"cniVersion":"1.0.0","name":"n","type":"bridge"}';
const {ready, go, answer, refuse, request} = frameTypes;

interface CallOptions {
  readonly env?: Readonly<Record<string, string>>;
  readonly stdin?: string;
}

const call = (
  {file}: Pick<TestClient, 'file'>,
  {env = {}, stdin = conf}: CallOptions = {},
): Promise<Output> => runCommand([file], {env: {...callEnv, ...env}, stdin, mayFail: true});

/** An agent that serves as it should, after `delayMs`. Gives the requests that come. */
async function startGoodAgent(
  t: ExecutionContext,
  socket: string,
  serve: (request: WarmRequest) => {exitCode: number; stdout: string; stderr: string},
): Promise<WarmRequest[]> {
  const requests: WarmRequest[] = [];
  await startAgent(t, socket, (connection) => {
    onFrames(connection, (type, payload) => {
      if (type === request) requests.push(parseRequest(payload));
      connection.write(type === request ? formatFrame(ready) : formatAnswer(serve(requests.at(-1)!)));
    });
  });
  return requests;
}

test('is small, and needs no library', (t) => {
  const {file} = makeTestClient(t);
  t.true(statSync(file).size < 100_000, `${statSync(file).size} bytes`);
});

test('hands a call to the agent, with all it has to know, and prints what it says', async (t) => {
  const client = makeTestClient(t);
  const requests = await startGoodAgent(t, client.socket, () => ({
    exitCode: 7,
    stdout: '{"code": 7}',
    stderr: 'bridge: a warning\n',
  }));
  const odd = 'a=b\n"c" \u00e4 ';
  const output = await runCommand(['sh', '-c', `umask 027; cd ${client.folder}; exec ./bridge`], {
    env: {...callEnv, ODD: odd, EMPTY: ''},
    stdin: conf,
    mayFail: true,
  });
  t.like(output, {code: 7, stdout: '{"code": 7}', stderr: 'bridge: a warning\n'});
  const [given] = requests;
  const own = (name: string) => statSync(`/proc/self/ns/${name}`, {bigint: true});
  t.like(given, {
    umask: 0o027,
    release: formatTrailer(release),
    name: 'bridge',
    cwd: client.folder,
    stdin: conf,
    namespaces: {net: own('net').ino, mnt: own('mnt').ino, pid: own('pid').ino, user: own('user').ino},
  });
  t.like(given?.env, {...callEnv, ODD: odd, EMPTY: ''});
  t.like(given?.netns, {device: own('net').dev, inode: own('net').ino});
  t.true((given?.netns?.fd ?? 0) > 2);
});

test('the descriptor of CNI_NETNS is open while the agent asks, and absent where there is nothing', async (t) => {
  const client = makeTestClient(t);
  const seen: (string | undefined)[] = [];
  await startAgent(t, client.socket, (connection) => {
    onFrames(connection, (type, payload) => {
      if (type !== request) return void connection.write(formatAnswer({exitCode: 0, stdout: '', stderr: ''}));
      const {pid, netns} = parseRequest(payload);
      seen.push(netns && String(statSync(`/proc/${pid}/fd/${netns.fd}`, {bigint: true}).ino === netns.inode));
      connection.write(formatFrame(ready));
    });
  });
  for (const CNI_NETNS of ['/proc/self/ns/net', '/nonexistent', '../relative'])
    t.is((await call(client, {env: {CNI_NETNS}})).code, 0);
  await call(client, {env: {CNI_NETNS: '', CNI_COMMAND: 'DEL'}});
  t.deepEqual(seen, ['true', undefined, undefined, undefined]);
});

test('1 MiB of stdin, 900 kB of environment and 16 MiB of answer pass whole', async (t) => {
  const client = makeTestClient(t);
  const stdin = 'x'.repeat((1 << 20) - 1);
  const result = '0123456789abcdef'.repeat((1 << 20) - 1);
  const requests = await startGoodAgent(t, client.socket, () => ({exitCode: 0, stdout: result, stderr: ''}));
  const big = Object.fromEntries(Array.from({length: 9}, (_, i) => [`BIG${i}`, String(i).repeat(100_000)]));
  const output = await call(client, {env: big, stdin});
  t.is(output.code, 0);
  t.true(output.stdout === result);
  t.true(requests[0]?.stdin === stdin);
  t.like(requests[0]?.env, big);
});

test('what is too large for the agent is for the standalone weft, whole', async (t) => {
  const client = makeTestClient(t);
  const requests = await startGoodAgent(t, client.socket, () => ({exitCode: 0, stdout: 'warm', stderr: ''}));
  for (const size of [1 << 20, 3 << 20]) {
    const stdin = `${'x'.repeat(size - 1)}.`;
    const {stdout} = await call(client, {stdin});
    t.true(stdout === client.standalone(stdin), `${size}`);
  }
  const big = Object.fromEntries(Array.from({length: 11}, (_, i) => [`BIG${i}`, 'x'.repeat(100_000)]));
  t.is((await call(client, {env: big})).stdout, client.standalone(conf));
  t.is(requests.length, 0);
});

test('without an agent the standalone weft gets the call as from a stub', async (t) => {
  const client = makeTestClient(t);
  t.is((await call(client)).stdout, client.standalone(conf));

  // A socket that a dead agent left, and something that is none.
  const {promise, resolve} = Promise.withResolvers<void>();
  const child = spawn(process.execPath, ['-e', `net.createServer().listen(process.argv[1])`, client.socket], {
    stdio: 'ignore',
  });
  child.once('close', () => resolve());
  while (!statSync(client.socket, {throwIfNoEntry: false})) await sleep(20);
  child.kill('SIGKILL');
  await promise;
  t.is((await call(client)).stdout, client.standalone(conf));

  const other = makeTestClient(t);
  writeFileSync(other.socket, '');
  t.is((await call(other)).stdout, other.standalone(conf));
});

test('arguments, paths and names are those that a stub would give', async (t) => {
  const client = makeTestClient(t);
  const stub = path.join(client.folder, 'stub');
  mkdirSync(stub);
  writeFileSync(path.join(stub, 'bridge'), `#!${client.folder}/weft --plugin\n`, {mode: 0o755});
  const env = {...callEnv, PATH: `.:${callEnv.PATH}`};
  for (const command of [
    './bridge',
    './bridge one "two  words"',
    `exec -a other ./bridge`,
    '../"${PWD##*/}"/bridge',
  ]) {
    const say = async (cwd: string) =>
      (await runCommand(['bash', '--norc', '-c', command], {env, cwd, stdin: conf})).stdout;
    const expected = (await say(stub))
      .replace('../stub/', `../${path.basename(client.folder)}/`)
      .replace(`${stub}/`, `${client.folder}/`);
    t.is(await say(client.folder), expected, command);
  }
  const byPath = await runCommand(['sh', '-c', 'bridge'], {
    env: {...callEnv, PATH: `${client.folder}:${callEnv.PATH}`},
    stdin: conf,
  });
  t.is(byPath.stdout, client.standalone(conf));
});

test('calls that fail before anybody reads stdin, tools and arguments do not reach the agent', async (t) => {
  const client = makeTestClient(t);
  const requests = await startGoodAgent(t, client.socket, () => ({exitCode: 0, stdout: 'warm', stderr: ''}));
  for (const env of [
    {CNI_COMMAND: ''},
    {CNI_COMMAND: 'NONSENSE'},
    {CNI_COMMAND: 'ADD', CNI_NETNS: ''},
    {CNI_COMMAND: 'DEL', CNI_CONTAINERID: ''},
    {CNI_COMMAND: 'STATUS', CNI_PATH: ''},
  ]) {
    const {stdout} = await call(client, {env});
    t.is(stdout, client.standalone(conf, {command: env.CNI_COMMAND}));
  }
  const {stdout} = await runCommand([client.file, 'argument'], {env: callEnv, stdin: conf});
  t.is(stdout, client.standalone(conf, {file: `${client.file} argument`}));
  t.is(requests.length, 0);
  for (const CNI_COMMAND of ['ADD', 'DEL', 'CHECK', 'GC', 'STATUS', 'VERSION'])
    t.is((await call(client, {env: {CNI_COMMAND}})).stdout, 'warm');
});

/** What agents may do before `go`; each of it leads to the standalone weft. */
const unfit: Readonly<Record<string, (connection: Socket) => void>> = {
  'closes at once': (connection) => connection.destroy(),
  'closes in the middle of the request': (connection) => connection.once('data', () => connection.destroy()),
  'says nothing': () => {},
  'reads nothing': (connection) => connection.pause(),
  refuses: (connection) => onFrames(connection, () => connection.end(formatFrame(refuse, Buffer.from('no')))),
  'refuses before the request': (connection) => connection.write(formatFrame(refuse)),
  'refuses and goes on': (connection) =>
    onFrames(connection, () => connection.write(Buffer.concat([formatFrame(refuse), formatFrame(ready)]))),
  'answers without being asked': (connection) =>
    onFrames(connection, () => connection.end(formatAnswer({exitCode: 0, stdout: 'bad', stderr: ''}))),
  'says ready with something behind it': (connection) =>
    onFrames(connection, () => connection.write(formatFrame(ready, Buffer.from('x')))),
  'uses the bytes that are zero': (connection) =>
    onFrames(connection, () => connection.write(Buffer.from([0, 0, 0, 0, ready, 0, 0, 1]))),
  'sends half a frame': (connection) =>
    onFrames(connection, () => connection.end(Buffer.from([0, 0, 0, 0, ready]))),
  'is silent in the middle of a frame': (connection) =>
    onFrames(connection, () => connection.write(Buffer.from([0, 0, 0, 0, ready]))),
  'is ready too late': (connection) =>
    onFrames(connection, (type) => {
      // Later than even for an agent that is at work, as this very process may be.
      if (type === request) setTimeout(() => connection.write(formatFrame(ready)), 15_000);
      else connection.write(formatAnswer({exitCode: 0, stdout: 'twice', stderr: ''}));
    }),
};

for (const [what, serve] of Object.entries(unfit)) {
  test(`an agent that ${what}: the standalone weft gets the call`, async (t) => {
    const client = makeTestClient(t);
    await startAgent(t, client.socket, serve);
    const {stdout, stderr, code} = await call(client);
    t.like({stdout, stderr, code}, {stdout: client.standalone(conf), stderr: '', code: 0});
    // More than a socket takes at once.
    const stdin = 'y'.repeat(1_000_000);
    t.true((await call(client, {stdin})).stdout === client.standalone(stdin));
  });
}

/** What agents may do after `go`, when nobody else may do the work any more. */
const lost: Readonly<Record<string, Uint8Array>> = {
  'sends nothing': Buffer.alloc(0),
  'sends half a header': Buffer.from([1, 0, 0]),
  'sends half an answer': formatAnswer({exitCode: 0, stdout: 'half', stderr: 'of it'}).subarray(0, 22),
  'announces too much': Buffer.concat([Buffer.from([1, 0, 0, 1, answer, 0, 0, 0]), Buffer.alloc(100)]),
  'sends another frame': formatFrame(ready),
  'refuses late': formatFrame(refuse, Buffer.from('too late')),
  'sends lengths that are too long': formatFrame(answer, Buffer.from([0, 0, 0, 0, 5, 0, 0, 0, 1, 1, 1, 1])),
  'sends lengths that overflow': formatFrame(
    answer,
    Buffer.from([0, 0, 0, 0, 255, 255, 255, 255, 255, 255, 255, 255]),
  ),
  'sends something behind the answer': formatFrame(answer, Buffer.alloc(13)),
  'sends an impossible exit code': formatFrame(answer, Buffer.from([0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0])),
};

for (const [what, bytes] of Object.entries(lost)) {
  test(`an agent that after go ${what}: error 11, and nothing is done twice`, async (t) => {
    const client = makeTestClient(t);
    await startAgent(t, client.socket, (connection) => {
      onFrames(connection, (type) => {
        if (type === request) connection.write(formatFrame(ready));
        else connection.end(bytes);
      });
    });
    const {stdout, code} = await call(client);
    t.is(code, 1);
    t.like(JSON.parse(stdout), {
      cniVersion: '1.0.0',
      code: 11,
      msg: 'the agent of weft went away in the middle of the call',
    });
  });
}

test('error 11 states the version of the configuration only if it is there', async (t) => {
  const client = makeTestClient(t);
  await startAgent(t, client.socket, (connection) => {
    onFrames(connection, (type) =>
      type === request ? connection.write(formatFrame(ready)) : connection.end(),
    );
  });
  const version = async (stdin: string) =>
    (JSON.parse((await call(client, {stdin})).stdout) as {cniVersion?: string}).cniVersion;
  t.is(await version('{"name": "n", "cniVersion" : "0.4.0"}'), '0.4.0');
  for (const stdin of [
    '',
    '{}',
    '{"cniVersion":',
    '{"cniVersion":"',
    '{"cniVersion":"1.0',
    '{"cniVersion":"\\""}',
  ])
    t.is(await version(stdin), undefined, stdin);
});

test('after go the client waits as long as it takes', async (t) => {
  const client = makeTestClient(t);
  await startAgent(t, client.socket, (connection) => {
    onFrames(connection, (type) => {
      if (type === request) connection.write(formatFrame(ready));
      else setTimeout(() => connection.end(formatAnswer({exitCode: 0, stdout: 'late', stderr: ''})), 1000);
    });
  });
  t.is((await call(client)).stdout, 'late');
});

test('a client that is killed closes its connection', async (t) => {
  const client = makeTestClient(t);
  const {promise: begun, resolve: begin} = Promise.withResolvers<void>();
  const {promise: gone, resolve: leave} = Promise.withResolvers<void>();
  await startAgent(t, client.socket, (connection) => {
    connection.once('end', leave);
    onFrames(connection, (type) => {
      if (type === request) connection.write(formatFrame(ready));
      else if (type === go) begin();
    });
  });
  const child = spawn(client.file, {env: callEnv, stdio: ['pipe', 'ignore', 'ignore']});
  child.stdin.end(conf);
  await begun;
  child.kill('SIGKILL');
  await gone;
  t.pass();
});

test('a result that nobody reads is taken back', async (t) => {
  const client = makeTestClient(t);
  const done = path.join(client.folder, 'done');
  writeFileSync(
    path.join(client.folder, 'weft'),
    `#!/bin/sh\n{ printf '%s|%s|' "$*" "$CNI_COMMAND"; cat; } > ${done}\n`,
    {mode: 0o755},
  );
  await startGoodAgent(t, client.socket, () => ({exitCode: 0, stdout: 'result', stderr: ''}));
  // A reader that is gone before anything is written.
  const broken = async (command: string) => {
    const script = `mkfifo pipe; exec 3<>pipe 4>pipe 3<&-; "$0" <<<'${conf}' >&4; echo "exit $?" >&2; rm pipe`;
    return runCommand(['bash', '--norc', '-c', script, client.file], {
      env: {...callEnv, CNI_COMMAND: command},
      cwd: client.folder,
    });
  };
  const {stderr} = await broken('ADD');
  t.is(stderr, 'bridge: cannot write the result to stdout\nexit 1\n');
  const {stdout} = await runCommand(['cat', done]);
  t.is(stdout, `--plugin ${client.file}|DEL|${conf}\n`);
  await runCommand(['rm', done]);
  t.regex((await broken('CHECK')).stderr, /exit 1\n$/);
  t.is(statSync(done, {throwIfNoEntry: false}), undefined);
});

test('stdin and stdout may be pipes that are non-blocking and slow', async (t) => {
  const client = makeTestClient(t);
  const [input, output] = [path.join(client.folder, 'in'), path.join(client.folder, 'out')];
  await runCommand(['mkfifo', input, output]);
  const result = 'r'.repeat(500_000);
  const requests = await startGoodAgent(t, client.socket, () => ({exitCode: 0, stdout: result, stderr: ''}));
  const {O_RDONLY, O_WRONLY, O_NONBLOCK} = constants;
  const stdin = openSync(input, O_RDONLY | O_NONBLOCK);
  const toChild = openSync(input, O_WRONLY);
  const fromChild = openSync(output, O_RDONLY | O_NONBLOCK);
  const stdout = openSync(output, O_WRONLY | O_NONBLOCK);
  const child = spawn(client.file, {env: callEnv, stdio: [stdin, stdout, 'inherit']});
  const ended = new Promise<number | null>((resolve) => child.once('close', resolve));
  closeSync(stdin);
  closeSync(stdout);
  // Longer than its patience with the agent, which begins when stdin has ended.
  for (const part of [conf.slice(0, 10), conf.slice(10)]) {
    await sleep(400);
    writeFileSync(toChild, part);
  }
  closeSync(toChild);
  let read = 0;
  await sleep(300);
  for (const chunk = Buffer.alloc(50_000); ;) {
    try {
      const length = readSync(fromChild, chunk);
      if (length === 0) break;
      read += length;
    } catch (error) {
      t.is((error as NodeJS.ErrnoException).code, 'EAGAIN');
    }
    await sleep(2);
  }
  closeSync(fromChild);
  t.is(await ended, 0);
  t.is(read, result.length);
  t.is(requests[0]?.stdin, conf);
});

test('VERSION does not wait for the end of stdin', async (t) => {
  const client = makeTestClient(t);
  await startGoodAgent(t, client.socket, () => ({exitCode: 0, stdout: 'versions', stderr: ''}));
  const child = spawn(client.file, {
    env: {...callEnv, CNI_COMMAND: 'VERSION'},
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  let stdout = '';
  child.stdout.on('data', (chunk: Buffer) => (stdout += chunk.toString()));
  t.is(await new Promise((resolve) => child.once('close', resolve)), 0);
  t.is(stdout, 'versions');
  child.stdin.destroy();
});

test('closed descriptors are no place for the socket', async (t) => {
  const client = makeTestClient(t);
  const requests = await startGoodAgent(t, client.socket, () => ({
    exitCode: 3,
    stdout: 'result',
    stderr: 'warning',
  }));
  const run = async (redirections: string) => {
    const argv = ['sh', '-c', `exec "$0" ${redirections}`, client.file];
    const {code, stdout, stderr} = await runCommand(argv, {env: callEnv, stdin: conf, mayFail: true});
    return [code, stdout, stderr];
  };
  t.deepEqual(await run('<&-'), [3, 'result', 'warning']);
  t.deepEqual(await run('>&-'), [3, '', 'warning']);
  t.deepEqual(await run('2>&-'), [3, 'result', '']);
  t.deepEqual(await run('<&- >&- 2>&-'), [3, '', '']);
  t.deepEqual(
    requests.map(({stdin}) => stdin),
    ['', conf, conf, ''],
  );
});

test('an agent that is not root gets nothing', async (t) => {
  const client = makeTestClient(t);
  const seen: unknown[] = [];
  const server = createServer((connection) => connection.on('data', (chunk) => seen.push(chunk)));
  t.teardown(() => server.close());
  // Whose an agent is, is whose it was when it began to listen.
  const listening = new Promise<void>((resolve) => server.once('listening', resolve));
  await runCommand(['chmod', '777', client.folder]);
  process.seteuid!(65534);
  try {
    server.listen(client.socket);
  } finally {
    process.seteuid!(0);
  }
  await listening;
  t.is((await call(client)).stdout, client.standalone(conf));
  t.deepEqual(seen, []);
});

test('a queue of connections that is full is waited for, but not for long', async (t) => {
  const client = makeTestClient(t);
  // Listens with the shortest queue, and never accepts.
  const script = `use Socket;
socket(S, AF_UNIX, SOCK_STREAM, 0) && bind(S, pack_sockaddr_un($ARGV[0])) && listen(S, 0) || die $!;
print "ready"; close STDOUT; sleep 60`;
  const listener = spawn('/usr/bin/perl', ['-e', script, client.socket], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  t.teardown(() => listener.kill('SIGKILL'));
  const [ready] = (await once(listener.stdout, 'data')) as [Buffer];
  t.is(String(ready), 'ready');
  const outputs = await Promise.all(Array.from({length: 6}, () => call(client)));
  for (const {stdout} of outputs) t.is(stdout, client.standalone(conf));
});

test('a client whose weft was upgraded meanwhile executes what has taken its place', async (t) => {
  const client = makeTestClient(t);
  await startAgent(t, client.socket, (connection) => {
    onFrames(connection, () => {
      const other = path.join(client.folder, 'other');
      writeFileSync(other, '#!/bin/sh\nprintf "new "; exec cat\n', {mode: 0o755});
      renameSync(other, client.file);
      rmSync(path.join(client.folder, 'weft'));
      connection.end(formatFrame(refuse, Buffer.from('another build')));
    });
  });
  t.is((await call(client)).stdout, `new ${conf}`);
});

test('a weft that is gone is error 11, and names it', async (t) => {
  const client = makeTestClient(t);
  const program = path.join(client.folder, 'weft');
  await runCommand(['rm', program]);
  const {code, stdout} = await call(client);
  t.is(code, 1);
  t.deepEqual(JSON.parse(stdout), {
    code: 11,
    msg: 'cannot execute the standalone weft',
    details: program,
  });
});
