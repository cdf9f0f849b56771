import {mkdtempSync, rmSync} from 'node:fs';
import {request} from 'node:http';
import {createServer, type AddressInfo} from 'node:net';
import {tmpdir} from 'node:os';
import {join} from 'node:path';
import test, {type ExecutionContext} from 'ava';
import {createMetrics} from '../../../agent/http/metrics.ts';
import {startHttp, type Subject} from '../../../agent/http/server.ts';
import {openLog} from '../../../lib/log.ts';

interface Answer {
  readonly code: number | undefined;
  readonly type: string | undefined;
  readonly allow: string | undefined;
  readonly body: string;
}

function ask(where: {readonly socketPath: string} | {readonly port: number}, line: string): Promise<Answer> {
  const [method, path] = line.split(' ') as [string, string];
  const {promise, resolve, reject} = Promise.withResolvers<Answer>();
  const call = request({...where, method, path, agent: false}, (response) => {
    let body = '';
    response.on('data', (chunk: Buffer) => (body += chunk.toString()));
    response.on('end', () => {
      const {'content-type': type, allow} = response.headers;
      resolve({code: response.statusCode, type, allow, body});
    });
  });
  call.once('error', reject);
  call.end();
  return promise;
}

/** A port that is free now. */
async function findPort(): Promise<number> {
  const {promise, resolve} = Promise.withResolvers<number>();
  const server = createServer().listen(0, '127.0.0.1', () => {
    const {port} = server.address() as AddressInfo;
    server.close(() => resolve(port));
  });
  return promise;
}

async function start(t: ExecutionContext, change: Partial<Subject> = {}) {
  const folder = mkdtempSync(join(tmpdir(), 'weft-http-'));
  const socketPath = join(folder, 'agent.sock');
  const subject: Subject = {
    metrics: createMetrics({version: '0.1.0', id: 'abc'}),
    notReady: () => [],
    status: () => ({version: '0.1.0'}),
    reconcile: () => Promise.resolve(),
    ...change,
  };
  const port = await findPort();
  const log = openLog({level: 'silent'});
  const server = await startHttp({socketPath, listen: `127.0.0.1:${port}`, subject, log});
  t.teardown(async () => {
    await server.close();
    rmSync(folder, {recursive: true});
  });
  return {own: (line: string) => ask({socketPath}, line), open: (line: string) => ask({port}, line)};
}

test('what everybody may ask', async (t) => {
  const {own, open} = await start(t);
  for (const to of [own, open]) {
    t.like(await to('GET /livez'), {code: 200, body: 'ok\n'});
    t.like(await to('GET /readyz?verbose'), {code: 200, body: 'ok\n'});
    t.like(await to('HEAD /livez'), {code: 200, body: ''});
    const {type, body} = await to('GET /metrics');
    t.regex(type!, /^text\/plain; version=0\.0\.4/);
    t.regex(body, /^weft_process_resident_memory_bytes \d+$/m);
    t.regex(body, /^weft_build_info\{version="0\.1\.0",build="abc"\} 1$/m);
    t.like(await to('GET /nonsense'), {code: 404, body: 'there is no /nonsense\n'});
    t.like(await to('GET /toString'), {code: 404});
    t.like(await to('POST /livez'), {code: 405, allow: 'GET'});
  }
});

test('what root alone may ask', async (t) => {
  let reconciled = 0;
  const {own, open} = await start(t, {
    reconcile() {
      reconciled++;
      return Promise.resolve();
    },
  });
  t.like(await own('GET /status'), {code: 200, type: 'application/json', body: '{"version":"0.1.0"}\n'});
  t.like(await own('POST /reconcile'), {code: 200, body: 'ok\n'});
  t.is(reconciled, 1);
  t.like(await own('GET /reconcile'), {code: 405, allow: 'POST'});
  for (const line of ['GET /status', 'POST /reconcile']) t.like(await open(line), {code: 404});
  t.is(reconciled, 1);
});

test('why a node is not ready', async (t) => {
  const {open} = await start(t, {notReady: () => ['overlay: no subnet yet', 'cni: no socket']});
  t.like(await open('GET /readyz'), {code: 503, body: 'overlay: no subnet yet\ncni: no socket\n'});
  t.like(await open('GET /livez'), {code: 200});
});

test('an answer that fails is 500, and the next one is none the worse', async (t) => {
  const {own} = await start(t, {
    reconcile: () => Promise.reject(new Error('no store')),
    status: () => {
      throw new Error('no status');
    },
  });
  t.like(await own('POST /reconcile'), {code: 500, body: 'no store\n'});
  t.like(await own('GET /status'), {code: 500, body: 'no status\n'});
  t.like(await own('GET /livez'), {code: 200});
});
