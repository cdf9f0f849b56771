import {createServer as createHttp2Server} from 'node:http2';
import {createServer} from 'node:http';
import {once} from 'node:events';
import {connect, type AddressInfo} from 'node:net';
import {setTimeout as sleep} from 'node:timers/promises';
import test, {type ExecutionContext} from 'ava';
import {probe, type ProbeResult} from '../../../agent/registry/checks/probe.ts';
import {CheckWatcher} from '../../../agent/registry/checks/watcher.ts';
import {parseCheck, type CheckDefinition} from '../../../agent/registry/registration.ts';
import type {Json} from '../../../lib/cni/types.ts';

const define = (json: Json): CheckDefinition => parseCheck(json, 'check');

/** Asked for anew each time: it changes by itself. */
const statusOf = ({state}: CheckWatcher) => state.status;

/** A watcher whose looks give these results, one after the other, the last for ever. */
function watch(t: ExecutionContext, json: Json, results: readonly ProbeResult['status'][]) {
  const seen: string[] = [];
  let looks = 0;
  const watcher = new CheckWatcher(define({TCP: '127.0.0.1:1', Interval: '2ms', ...(json as object)}), {
    random: () => 0,
    probe: async () => ({status: results[Math.min(looks++, results.length - 1)]!, output: ''}),
    onChange: () => seen.push(watcher.state.status),
  });
  t.teardown(() => watcher.close());
  const until = async (count: number) => {
    while (looks < count) await sleep(2);
    await sleep(2);
  };
  return {watcher, seen, until};
}

test('it is critical until it passes, and so many failures in a row decide', async (t) => {
  const {watcher, until} = watch(t, {FailuresBeforeCritical: 3}, [
    'passing',
    'critical',
    'critical',
    'passing',
    'critical',
    'critical',
    'critical',
  ]);
  t.is(statusOf(watcher), 'critical');
  await until(3);
  t.is(statusOf(watcher), 'passing');
  await until(7);
  t.is(statusOf(watcher), 'critical');
  t.true(watcher.state.criticalSinceMs! > 0);
});

test('so many successes in a row decide', async (t) => {
  const {watcher, seen, until} = watch(t, {SuccessBeforePassing: 2}, [
    'passing',
    'critical',
    'passing',
    'passing',
  ]);
  await until(4);
  t.is(statusOf(watcher), 'passing');
  t.is(seen.indexOf('passing'), 3);
});

test('a warning is one, and a measured time is kept', async (t) => {
  const {watcher, until} = watch(t, {}, ['warning']);
  await until(2);
  t.is(statusOf(watcher), 'warning');
  t.true(watcher.state.latencyMs! >= 0);
});

test('a heartbeat that does not come is critical', async (t) => {
  const watcher = new CheckWatcher(define({TTL: '60ms', Status: 'passing'}), {onChange: () => {}});
  t.teardown(() => watcher.close());
  t.is(statusOf(watcher), 'passing');
  watcher.beat('warning', 'slow');
  t.like(watcher.state, {status: 'warning', output: 'slow'});
  while (watcher.state.status !== 'critical') await sleep(5);
  t.regex(watcher.state.output, /no heartbeat for 60 ms/);
  watcher.beat('passing', '');
  t.is(statusOf(watcher), 'passing');
});

async function listen(
  t: ExecutionContext,
  server: {listen(port: number, host: string): unknown; close(): unknown; address(): unknown},
) {
  server.listen(0, '127.0.0.1');
  await once(server as never, 'listening');
  t.teardown(() => server.close());
  return `127.0.0.1:${(server.address() as AddressInfo).port}`;
}

test('HTTP answers are judged by their code, TCP by the connection', async (t) => {
  let code = 200;
  const endpoint = await listen(
    t,
    createServer((request, response) => response.writeHead(code).end(`host ${request.headers.host}`)),
  );
  const look = (json: object) => probe(define({Interval: '1s', Timeout: '2s', ...json}));
  t.like(await look({HTTP: `http://${endpoint}/`, Header: {Host: ['shop']}}), {status: 'passing'});
  t.regex(
    (await look({HTTP: `http://${endpoint}/`, Header: {Host: ['shop']}})).output,
    /200 OK Output: host shop/,
  );
  code = 429;
  t.is((await look({HTTP: `http://${endpoint}/`})).status, 'warning');
  code = 500;
  t.is((await look({HTTP: `http://${endpoint}/`})).status, 'critical');
  t.is((await look({TCP: endpoint})).status, 'passing');
  t.like(await look({TCP: '127.0.0.1:1'}), {status: 'critical'});
});

test('who does not answer in time is critical', async (t) => {
  const endpoint = await listen(
    t,
    createServer(() => {}),
  );
  const result = await probe(define({HTTP: `http://${endpoint}/`, Interval: '1s', Timeout: '50ms'}));
  t.deepEqual(result, {status: 'critical', output: 'no answer within 50 ms'});
  // The connection is not kept.
  const socket = connect(Number(endpoint.split(':')[1]), '127.0.0.1');
  await once(socket, 'connect');
  socket.destroy();
});

test('gRPC services are asked as their health protocol says', async (t) => {
  const asked: string[] = [];
  const server = createHttp2Server();
  server.on('stream', (stream, headers) => {
    const chunks: Buffer[] = [];
    stream.on('data', (chunk: Buffer) => chunks.push(chunk));
    stream.on('end', () => {
      const name = Buffer.concat(chunks).subarray(7).toString();
      asked.push(`${String(headers[':path'])} ${name}`);
      stream.respond({':status': 200, 'content-type': 'application/grpc'}, {waitForTrailers: true});
      stream.on('wantTrailers', () => stream.sendTrailers({'grpc-status': name === 'none' ? '5' : '0'}));
      stream.end(name === 'none' ? undefined : Buffer.from([0, 0, 0, 0, 2, 8, name === 'sick' ? 2 : 1]));
    });
  });
  const endpoint = await listen(t, server);
  const look = (service: string) =>
    probe(define({GRPC: `${endpoint}${service}`, Interval: '1s', Timeout: '2s'}));
  t.is((await look('')).status, 'passing');
  t.is((await look('/shop')).status, 'passing');
  t.deepEqual(await look('/sick'), {status: 'critical', output: `gRPC ${endpoint}/sick: not serving`});
  t.deepEqual(await look('/none'), {status: 'critical', output: `gRPC ${endpoint}/none: status 5`});
  t.is(asked[1], '/grpc.health.v1.Health/Check shop');
});
