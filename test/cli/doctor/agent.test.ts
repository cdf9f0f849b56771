import {mkdtempSync, rmSync} from 'node:fs';
import {createServer} from 'node:http';
import {tmpdir} from 'node:os';
import {join} from 'node:path';
import type {Host} from '../../../lib/host.ts';
import test, {type ExecutionContext} from 'ava';
import {checkAgent} from '../../../cli/doctor/agent.ts';

// Without an overlay nothing is asked of the kernel.
const host = {} as Host;

const release = {version: '0.2.0', id: '0123456789abcdef'};

/** What is found where an agent answers with these texts; by route, and 503 for what is not ready. */
async function check(t: ExecutionContext, routes: Readonly<Record<string, string>>) {
  const runDir = mkdtempSync(join(tmpdir(), 'weft-'));
  const server = createServer((request, response) => {
    const text = routes[request.url ?? ''] ?? '';
    response.writeHead(request.url === '/readyz' && text !== 'ok\n' ? 503 : 200).end(text);
  });
  t.teardown(() => {
    server.close();
    rmSync(runDir, {recursive: true, force: true});
  });
  await new Promise<void>((resolve) => server.listen(join(runDir, 'agent.sock'), resolve));
  const findings = await checkAgent(host, {runDir, agentConf: '/nonexistent', release});
  server.closeAllConnections();
  return findings.map(({severity, message}) => `${severity}: ${message}`);
}

const own = JSON.stringify({version: release.version, build: release.id});

test('an agent of this build that is ready', async (t) => {
  t.deepEqual(await check(t, {'/readyz': 'ok\n', '/status': own}), ['ok: it is ready']);
});

test('what an agent lacks', async (t) => {
  t.deepEqual(await check(t, {'/readyz': 'no hosts\nno subnet\n', '/status': own}), [
    'problem: not ready: no hosts',
    'problem: not ready: no subnet',
  ]);
});

test('an agent of another build serves no plugin of this one', async (t) => {
  const other = JSON.stringify({version: '0.1.0', build: 'fedcba9876543210'});
  t.deepEqual(await check(t, {'/readyz': 'ok\n', '/status': other}), [
    'warning: it is of weft 0.1.0 (build fedcba9876543210), this is 0.2.0 (build 0123456789abcdef): it serves no plugin of this one',
    'ok: it is ready',
  ]);
});

test('no agent', async (t) => {
  const runDir = mkdtempSync(join(tmpdir(), 'weft-'));
  t.teardown(() => rmSync(runDir, {recursive: true, force: true}));
  const options = {runDir, release};
  t.like(await checkAgent(host, {...options, agentConf: '/nonexistent'}), [{severity: 'ok'}]);
  t.like(await checkAgent(host, {...options, agentConf: runDir}), [{severity: 'problem'}]);
});
