import {type ExecutionContext} from 'ava';
import {makeHost, type TestHost} from './harness/host.ts';
import {testWith} from './harness/needs.ts';
import {bridgeNetwork} from './harness/networks.ts';
import {pluginDir} from './harness/paths.ts';
import {callPlugin} from './harness/plugin.ts';

// bridge asks host-local for an address. Where the file found in CNI_PATH is of the same build, that costs no process.

const test = testWith('root', 'apt');

/** Runs an ADD of bridge and lists what was executed: base names, in order. */
async function executedByAdd(t: ExecutionContext, host: TestHost, dir: string): Promise<readonly string[]> {
  const netns = await host.addNetns('pod');
  const reply = await callPlugin(host, {
    command: 'ADD',
    conf: bridgeNetwork({name: 'delegation', ipMasq: false}),
    containerId: 'pod',
    netns,
    dir,
    under: ['strace', '-f', '-qq', '-e', 'trace=execve', '-e', 'status=successful', '-o', '/run/trace'],
  });
  t.is(reply.ips?.length, 2);
  const trace = await host.read('/run/trace');
  return [...trace.matchAll(/execve\("([^"]+)"/g)].map(([, file = '']) => file.split('/').at(-1) ?? '');
}

test('by links of dist/bin: one process', async (t) => {
  const host = await makeHost(t);
  t.deepEqual(await executedByAdd(t, host, pluginDir), ['bridge']);
});

test('by installed stubs: one process', async (t) => {
  const host = await makeHost(t);
  await host.run([`${pluginDir}/weft`, 'install', '--bin-dir', '/run/cni'], {timeoutMs: 60_000});
  t.deepEqual(await executedByAdd(t, host, '/run/cni'), ['bridge']);
});

test('a file of another build is executed', async (t) => {
  const host = await makeHost(t);
  await host.run([`${pluginDir}/weft`, 'install', '--bin-dir', '/run/cni'], {timeoutMs: 60_000});
  await host.sh(`sed -i 's/^# weft .*/# weft 9.9.9 0123456789abcdef/' /run/cni/host-local`);
  t.deepEqual(await executedByAdd(t, host, '/run/cni'), ['bridge', 'host-local']);
});

test('a foreign file is executed', async (t) => {
  const host = await makeHost(t);
  await host.run([`${pluginDir}/weft`, 'install', '--bin-dir', '/run/cni'], {timeoutMs: 60_000});
  await host.sh(`printf '#!/bin/sh\\nexec ${pluginDir}/host-local\\n' > /run/cni/host-local`);
  t.deepEqual(await executedByAdd(t, host, '/run/cni'), ['bridge', 'host-local', 'host-local']);
});
