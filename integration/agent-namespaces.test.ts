import {readFileSync} from 'node:fs';
import path from 'node:path';
import {startAgentOn} from './harness/agent.ts';
import {binDir, installMode} from './harness/both-modes.ts';
import {makeHost, type TestHost} from './harness/host.ts';
import {testWith} from './harness/needs.ts';
import {callPlugin, tryPlugin} from './harness/plugin.ts';
import {bridgeNetwork} from './harness/networks.ts';

// An agent that is not where its callers are, as in a container, serves none of them; the clients run the plugins.

const test = testWith('root', 'apt', 'cc');
const conf = bridgeNetwork({name: 'net', ipMasq: false});

/** Attaches and detaches a container by native clients. Gives how many calls there were. */
async function attachOnce(host: TestHost, name: string): Promise<number> {
  const netns = await host.addNetns(name);
  const call = {conf, netns, containerId: name, dir: binDir};
  const prevResult = await callPlugin(host, {...call, command: 'ADD'});
  await callPlugin(host, {...call, command: 'CHECK', prevResult});
  await callPlugin(host, {...call, command: 'DEL', prevResult});
  return 3;
}

const elsewhere: Readonly<Record<string, {readonly under: readonly string[]; readonly reason: RegExp}>> = {
  mount: {under: ['unshare', '--mount'], reason: /another mnt namespace/},
  network: {under: ['unshare', '--net'], reason: /another net namespace/},
  process: {under: ['unshare', '--pid', '--fork', '--mount-proc'], reason: /process is 0/},
  user: {under: ['unshare', '--user', '--map-root-user'], reason: /another user namespace/},
};

for (const [kind, {under, reason}] of Object.entries(elsewhere)) {
  test.serial(`an agent in another ${kind} namespace leaves every call to the client`, async (t) => {
    t.timeout(120_000);
    const lines: string[] = [];
    const host = await makeHost(t, {plugins: await installMode('clients'), agent: false});
    const agent = await startAgentOn(host, {
      weft: `${binDir}/weft`,
      under,
      config: {logFile: '/var/log/agent.log'},
    });
    const calls = await attachOnce(host, 'pod');
    t.deepEqual(await agent.countCalls(), {served: 0, refused: calls});
    lines.push(
      ...(await host.read('/var/log/agent.log')).split('\n').filter((line) => line.includes('"reason"')),
    );
    t.is(lines.length, calls);
    for (const line of lines) t.regex(line, reason);
  });
}

test.serial("an agent in a container that enters the host's namespaces serves every call", async (t) => {
  t.timeout(120_000);
  const host = await makeHost(t, {plugins: await installMode('clients'), agent: false});
  // A DaemonSet with hostPID: namespaces of its own but for process ids, where the host's first process is number 1.
  const agent = await startAgentOn(host, {
    weft: `${binDir}/weft`,
    under: ['unshare', '--mount', '--net', '--uts', '--ipc', 'nsenter', '-t', '1', '-m', '-n', '-p'],
  });
  const calls = await attachOnce(host, 'pod');
  t.deepEqual(await agent.countCalls(), {served: calls, refused: 0});
});

test.serial('an agent of another build leaves every call to the client', async (t) => {
  t.timeout(120_000);
  const host = await makeHost(t, {plugins: await installMode('clients'), agent: false});
  const agent = await startAgentOn(host, {weft: `${binDir}/weft`});
  // A client as an upgrade leaves it until the agent is started again.
  const file = path.join(await installMode('clients'), 'loopback');
  const other = readFileSync(file, 'latin1').replaceAll(
    /(# weft \S+) [0-9a-f]{16}\n/g,
    '$1 0123456789abcdef\n',
  );
  await host.sh('mkdir /run/other; base64 -d > /run/other/loopback; chmod 755 /run/other/loopback', {
    stdin: Buffer.from(other, 'latin1').toString('base64'),
  });
  const call = {command: 'VERSION', conf: {type: 'loopback'}} as const;
  t.is((await tryPlugin(host, {...call, dir: '/run/other'})).code, 0);
  t.deepEqual(await agent.countCalls(), {served: 0, refused: 1});
  t.is((await tryPlugin(host, {...call, dir: binDir})).code, 0);
  t.deepEqual(await agent.countCalls(), {served: 1, refused: 1});
});

test.serial('while an agent ends and another starts no call is lost', async (t) => {
  t.timeout(120_000);
  const host = await makeHost(t, {plugins: await installMode('clients'), agent: false});
  let agent = await startAgentOn(host, {weft: `${binDir}/weft`});
  let isOver = false;
  let calls = 0;
  const caller = async (name: string) => {
    for (let i = 0; !isOver; i++) calls += await attachOnce(host, `${name}-${i}`);
  };
  const callers = Promise.all(['a', 'b', 'c'].map(caller));
  for (let i = 0; i < 3; i++) {
    // The new one first: it takes the socket over, and the old one ends by itself.
    const next = await startAgentOn(host, {weft: `${binDir}/weft`});
    await attachOnce(host, `replaced-${i}`);
    t.is(await agent.ended, 0);
    t.is(await next.stop(), 0);
    await attachOnce(host, `between-${i}`);
    agent = await startAgentOn(host, {weft: `${binDir}/weft`});
  }
  isOver = true;
  await callers;
  t.log(`${calls} calls`);
  t.true(calls > 9);
});
