import {mkdtempSync, readFileSync, rmSync} from 'node:fs';
import {tmpdir} from 'node:os';
import path from 'node:path';
import {
  formatAnswer,
  formatFrame,
  frameTypes,
  parseRequest,
  type WarmRequest,
} from '../agent/cni/protocol.ts';
import {compileClient} from '../build/client.ts';
import {callEnv, makeTestClient, onFrames, startAgent} from './harness/client.ts';
import {runCommand} from './harness/command.ts';
import {ensurePackages, toolPath} from './harness/debian.ts';
import {testWith} from './harness/needs.ts';

// The native client for arm64, compiled and run on whatever machine this is (qemu translates its instructions).

const test = testWith('root', 'apt');
const conf = '{"cniVersion":"1.0.0","name":"n","type":"bridge"}';

test('the client for arm64 does what that of this machine does', async (t) => {
  t.timeout(400_000);
  await ensurePackages('arm64');
  const folder = mkdtempSync(path.join(tmpdir(), 'weft-arm64-'));
  t.teardown(() => rmSync(folder, {recursive: true, force: true}));
  const output = path.join(folder, 'template');
  t.is(compileClient({output, compiler: toolPath('aarch64-linux-gnu-gcc', 'arm64')}), undefined);
  const template = readFileSync(output);
  t.is(template.readUInt16LE(18), 183, 'EM_AARCH64 of elf.h');
  t.true(template.length < 100_000, `${template.length} bytes`);

  const client = makeTestClient(t, {template});
  const qemu = toolPath('qemu-aarch64-static', 'arm64');
  const call = (stdin: string, ...argv: string[]) =>
    runCommand([...argv, qemu, client.file], {env: callEnv, stdin, mayFail: true});
  t.is((await call(conf)).stdout, client.standalone(conf));

  const requests: WarmRequest[] = [];
  const result = 'r'.repeat(200_000);
  await startAgent(t, client.socket, (connection) => {
    onFrames(connection, (type, payload) => {
      if (type !== frameTypes.request) {
        const isLost = requests.at(-1)?.stdin.includes('lost');
        connection.end(isLost ? '' : formatAnswer({exitCode: 3, stdout: result, stderr: 'a warning'}));
        return;
      }
      const request = parseRequest(payload);
      requests.push(request);
      if (request.stdin === 'refused') connection.end(formatFrame(frameTypes.refuse));
      else connection.write(formatFrame(frameTypes.ready));
    });
  });
  const {code, stdout, stderr} = await call(conf);
  t.deepEqual([code, stdout === result, stderr], [3, true, 'a warning']);
  t.like(requests[0], {name: 'bridge', stdin: conf, umask: process.umask()});
  t.like(requests[0]?.env, callEnv);
  t.true((requests[0]?.netns?.fd ?? 0) > 2);
  t.is((await call('refused')).stdout, client.standalone('refused'));
  const lost = await call('{"cniVersion":"1.0.0","name":"lost"}');
  t.is(lost.code, 1);
  t.like(JSON.parse(lost.stdout), {cniVersion: '1.0.0', code: 11});

  // A reader that is gone: what was done is undone.
  const script = 'mkfifo pipe; exec 3<>pipe 4>pipe 3<&-; "$@" >&4; echo "exit $?" >&2; rm pipe';
  const {stderr: said} = await runCommand(['sh', '-c', script, 'sh', qemu, client.file], {
    env: callEnv,
    cwd: client.folder,
    stdin: conf,
  });
  t.is(said, 'a warningbridge: cannot write the result to stdout\nexit 1\n');
});
