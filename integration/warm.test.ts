import {existsSync} from 'node:fs';
import {setTimeout as sleep} from 'node:timers/promises';
import type {ExecutionContext} from 'ava';
import {startAgentOn} from './harness/agent.ts';
import {binDir, installMode} from './harness/both-modes.ts';
import {toolPath} from './harness/debian.ts';
import {makeHost, type TestHost} from './harness/host.ts';
import {testWith} from './harness/needs.ts';
import {bridgeNetwork} from './harness/networks.ts';
import {callPlugin, tryPlugin, type PluginCall} from './harness/plugin.ts';
import {assertNothingLeft, staysByDesign, takeSnapshot} from './harness/snapshot.ts';

// What only an agent can do: many calls in one process.

const test = testWith('root', 'apt', 'cc');
const long = 240_000;
const weft = `${binDir}/weft`;
const conf = bridgeNetwork({name: 'warm'});
const lock = '/var/lib/cni/networks/warm/lock';

async function makeWarmHost(t: ExecutionContext): Promise<TestHost> {
  t.timeout(long);
  return makeHost(t, {plugins: await installMode('clients'), agent: false});
}

const options = {timeoutMs: 120_000, log: () => {}};

async function until(what: string, holds: () => boolean | Promise<boolean>): Promise<void> {
  for (const deadline = Date.now() + 60_000; !(await holds()); await sleep(10))
    if (Date.now() > deadline) throw new Error(`not within a minute: ${what}`);
}

/** Holds the lock of the reservations, as any other call of host-local does, until the function it gives is called. */
async function holdLock(host: TestHost): Promise<() => Promise<void>> {
  host.start([
    'sh',
    '-c',
    `flock ${lock} sh -c 'touch /run/held; while [ -e /run/held ]; do sleep 0.01; done'; touch /run/free`,
  ]);
  await until('the lock is held', () => existsSync(host.path('/run/held')));
  return async () => {
    await host.sh('rm /run/held');
    await until('the lock is free', () => existsSync(host.path('/run/free')));
    await host.sh('rm /run/free');
  };
}

test('100 DELs at once take a few requests for all their links, and leave nothing', async (t) => {
  const host = await makeWarmHost(t);
  const agent = await startAgentOn(host, {weft});
  const netnses = await host.addNetnses('pod', 100);
  const calls = netnses.map((netns, i): Omit<PluginCall, 'command'> => {
    return {conf, netns, containerId: `warm-${i}`, dir: binDir, options};
  });
  await callPlugin(host, {...calls[0]!, command: 'ADD'});
  await callPlugin(host, {...calls[0]!, command: 'DEL'});
  const before = await takeSnapshot(host);
  const results = await Promise.all(calls.map((call) => callPlugin(host, {...call, command: 'ADD'})));
  t.is(new Set(results.flatMap(({ips = []}) => ips.map(({address}) => address))).size, 200);
  const trace = host.start([
    toolPath('strace'),
    '-f',
    '-s',
    '64',
    '-e',
    'trace=sendmsg,sendto',
    '-o',
    '/run/trace',
    '-p',
    String(agent.pid),
  ]);
  await until('the trace has begun', () => existsSync(host.path('/run/trace')));
  await sleep(500);
  await Promise.all(
    calls.map((call, i) => callPlugin(host, {...call, command: 'DEL', prevResult: results[i]})),
  );
  const ended = new Promise((resolve) => trace.once('exit', resolve));
  await host.sh('kill -INT $(pidof strace)');
  await ended;
  const removals = Number((await host.sh('grep -c RTM_DELLINK /run/trace')).stdout);
  t.log(`${removals} RTM_DELLINK for 100 links`);
  t.true(removals > 0 && removals <= 50);
  await host.sh('rm /run/trace');
  // A traced agent may look as one that is stopped; whoever thinks so runs the plugin itself.
  t.true((await agent.countCalls()).served > 150);
  await assertNothingLeft(t, host, before, staysByDesign);
});

test('a DEL that comes while the ADD of its container goes on waits for it', async (t) => {
  const host = await makeWarmHost(t);
  const agent = await startAgentOn(host, {weft});
  const call = {conf, netns: await host.addNetns('pod'), containerId: 'pod', dir: binDir, options};
  const other = {...call, netns: await host.addNetns('other'), containerId: 'other'};
  await callPlugin(host, {...other, command: 'ADD'});
  await callPlugin(host, {...other, command: 'DEL'});
  const before = await takeSnapshot(host);
  const release = await holdLock(host);
  const added = callPlugin(host, {...call, command: 'ADD'});
  const running = async () =>
    Number(/^weft_cni_calls_running (\d+)$/m.exec((await agent.get('/metrics')).text)?.[1]);
  await until('the ADD has begun', async () => (await running()) === 1);
  const deleted = callPlugin(host, {...call, command: 'DEL'});
  await until('the DEL has come', async () => (await running()) === 2);
  // Another's does not wait for them, where it needs nothing of theirs.
  t.is((await tryPlugin(host, {...call, command: 'VERSION'})).code, 0);
  await release();
  t.is((await added).ips?.length, 2);
  await deleted;
  await assertNothingLeft(t, host, before, staysByDesign);
});

test('an ADD whose caller has gone is taken back', async (t) => {
  const host = await makeWarmHost(t);
  const agent = await startAgentOn(host, {weft});
  const call = {conf, netns: await host.addNetns('pod'), containerId: 'pod', dir: binDir, options};
  await callPlugin(host, {...call, command: 'ADD'});
  await callPlugin(host, {...call, command: 'DEL'});
  const before = await takeSnapshot(host);
  const release = await holdLock(host);
  // As a runtime does at its deadline.
  const under = ['timeout', '--signal=KILL', '3'];
  const {signal, code} = await tryPlugin(host, {...call, under, command: 'ADD'});
  t.true(signal === 'SIGKILL' || code === 137);
  await release();
  await until('the agent is done', async () =>
    /^weft_cni_calls_running 0$/m.test((await agent.get('/metrics')).text),
  );
  t.regex((await agent.get('/metrics')).text, /^weft_cni_undelivered_total 1$/m);
  await assertNothingLeft(t, host, before, staysByDesign);
});

test('what a call executes may call the agent for the same container', async (t) => {
  const host = await makeWarmHost(t);
  const agent = await startAgentOn(host, {weft});
  // An IPAM plugin of somebody else's, which hands on to ours.
  await host.write('/run/plugins/handing-on', `#!/bin/sh\nexec ${binDir}/host-local\n`);
  await host.sh('chmod 755 /run/plugins/handing-on');
  const ipam = {type: 'handing-on', subnet: '10.62.0.0/24'};
  const env = {CNI_PATH: `/run/plugins:${binDir}`};
  const netns = await host.addNetns('pod');
  const run = (command: string) =>
    host.run([`${binDir}/bridge`], {
      ...options,
      stdin: JSON.stringify({...conf, name: 'handed', ipMasq: false, ipam}),
      env: {...env, CNI_COMMAND: command, CNI_CONTAINERID: 'pod', CNI_IFNAME: 'eth0', CNI_NETNS: netns},
    });
  t.regex((await run('ADD')).stdout, /10\.62\.0\.2\/24/);
  await run('DEL');
  const {served, refused} = await agent.countCalls();
  t.deepEqual({served, refused}, {served: 4, refused: 0});
});

test('no call is lost while one agent takes over from another, again and again', async (t) => {
  const host = await makeWarmHost(t);
  await startAgentOn(host, {weft});
  const netnses = await host.addNetnses('pod', 4);
  const before = await takeSnapshot(host);
  let isOver = false;
  const counts = await Promise.all([
    ...netnses.map(async (netns, i) => {
      const call = {conf, netns, containerId: `pod-${i}`, dir: binDir, options};
      let count = 0;
      for (; !isOver || count < 3; count++) {
        const prevResult = await callPlugin(host, {...call, command: 'ADD'});
        await callPlugin(host, {...call, command: 'DEL', prevResult});
      }
      return count;
    }),
    (async () => {
      for (let i = 0; i < 5; i++) {
        const pids = (await host.sh('pidof weft || true')).stdout;
        const agent = await startAgentOn(host, {weft});
        t.false(pids.split(/\s/).includes(String(agent.pid)));
        await until('one agent is left', async () => {
          const {stdout} = await host.sh(
            `for p in $(pidof weft); do tr '\\0' ' ' < /proc/$p/cmdline; echo; done`,
            {mayFail: true},
          );
          return stdout.split('\n').filter((line) => line.endsWith(' agent ')).length === 1;
        });
      }
      isOver = true;
      return 5;
    })(),
  ]);
  t.log(`${counts.slice(0, 4).join(', ')} containers came and went`);
  await assertNothingLeft(t, host, before, [...staysByDesign, /^file \/run\/weft\//, / cni0/]);
});

test('the lines of a call are its caller’s, in its file or on its stderr', async (t) => {
  const host = await makeWarmHost(t);
  const agent = await startAgentOn(host, {weft});
  const call = {conf, netns: await host.addNetns('pod'), containerId: 'pod', dir: binDir};
  const {stderr} = await tryPlugin(host, {
    ...call,
    command: 'ADD',
    options: {...options, env: {WEFT_LOG: 'info'}},
  });
  const lines = stderr
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as {pid: number; plugin: string});
  t.true(lines.some(({plugin}) => plugin === 'bridge'));
  t.true(lines.every(({pid}) => pid !== agent.pid));
  await callPlugin(host, {...call, conf: {...conf, logFile: '/run/log/weft.log'}, command: 'DEL', options});
  const text = await host.read('/run/log/weft.log');
  t.regex(text, /"plugin":"bridge","command":"DEL"/);
  // Nothing of it stays open.
  const {stdout} = await host.sh(`ls -l /proc/${agent.pid}/fd`);
  t.notRegex(stdout, /weft\.log|netns/);
  // The agent's own namespace, to which it returns.
  t.is(stdout.split('net:[').length - 1, 1);
});
