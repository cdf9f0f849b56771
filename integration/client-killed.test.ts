import {setTimeout as sleep} from 'node:timers/promises';
import type {ExecutionContext} from 'ava';
import {startAgentOn, type TestAgent} from './harness/agent.ts';
import {binDir, installMode} from './harness/both-modes.ts';
import {makeHost, type TestHost} from './harness/host.ts';
import {testWith} from './harness/needs.ts';
import {bridgeNetwork} from './harness/networks.ts';
import {callPlugin, tryPlugin, type PluginCall} from './harness/plugin.ts';
import {chooseSeed, makeRandom} from './harness/random.ts';
import {assertNothingLeft, takeSnapshot} from './harness/snapshot.ts';
import {injecting} from './harness/strace.ts';

// Whoever dies in the middle of a call, client or agent: a DEL cleans up, and nothing is left.

const test = testWith('root', 'apt', 'cc');
const long = 300_000;
const weft = `${binDir}/weft`;

async function prepare(t: ExecutionContext): Promise<{host: TestHost; call: Omit<PluginCall, 'command'>}> {
  t.timeout(long);
  const host = await makeHost(t, {plugins: await installMode('clients'), agent: false});
  const netns = await host.addNetns('pod');
  return {host, call: {conf: bridgeNetwork({name: 'net'}), netns, containerId: 'pod', dir: binDir}};
}

/** Until the agent has done, or undone, whatever it was at. */
async function untilIdle(agent: TestAgent): Promise<void> {
  for (const deadline = Date.now() + 20_000; ; await sleep(20)) {
    if (/^weft_cni_calls_running 0$/m.test((await agent.get('/metrics')).text)) return;
    if (Date.now() > deadline) throw new Error('a call goes on for ever');
  }
}

test.serial('a client that is killed at any system call', async (t) => {
  const {host, call} = await prepare(t);
  const agent = await startAgentOn(host, {weft});
  // What stays by design is there before.
  await callPlugin(host, {...call, command: 'ADD'});
  await callPlugin(host, {...call, command: 'DEL'});
  const before = await takeSnapshot(host);
  const seen = new Set<string>();
  for (const [name, most] of Object.entries({
    fcntl: 1,
    connect: 1,
    openat: 1,
    read: 2,
    sendmsg: 2,
    ppoll: 5,
    recvfrom: 5,
    write: 2,
    exit_group: 1,
  })) {
    for (let nth = 1; nth <= most; nth++) {
      const under = injecting({name, nth, text: ''}, 'KILL', '/run/trace');
      const {signal, code} = await tryPlugin(host, {...call, under, command: 'ADD'});
      await untilIdle(agent);
      const isKilled = signal === 'SIGKILL' || code === 137;
      if (isKilled) seen.add(name);
      await callPlugin(host, {...call, command: 'DEL'});
      await host.sh('rm -f /run/trace');
      await assertNothingLeft(t, host, before);
      if (!isKilled) {
        t.is(code, 0);
        break;
      }
    }
  }
  t.log(`killed in ${[...seen].join(', ')}`);
  for (const name of ['connect', 'sendmsg', 'ppoll', 'recvfrom', 'write']) t.true(seen.has(name), name);
});

test.serial('an agent that is killed at any moment of an ADD', async (t) => {
  const seed = chooseSeed();
  t.log(`seed ${seed}: WEFT_FUZZ_SEED=${seed} repeats it`);
  const random = makeRandom(seed);
  const {host, call} = await prepare(t);
  await callPlugin(host, {...call, command: 'ADD'});
  await callPlugin(host, {...call, command: 'DEL'});
  const before = await takeSnapshot(host);
  const outcomes = {attached: 0, lost: 0};
  for (let i = 0; i < 12; i++) {
    const agent = await startAgentOn(host, {weft});
    // The first call of an agent takes longer; it is the one that is interrupted half of the time.
    if (random.oneIn(2)) {
      await callPlugin(host, {...call, command: 'ADD'});
      await callPlugin(host, {...call, command: 'DEL'});
    }
    const delay = random.below(30) / 1000;
    const stop = host.sh(
      `while ! [ -e /run/go ]; do :; done; sleep ${delay}; kill -KILL ${agent.pid}; rm /run/go`,
    );
    const added = await tryPlugin(host, {
      ...call,
      under: ['sh', '-c', 'touch /run/go; exec "$0"'],
      command: 'ADD',
    });
    await stop;
    await agent.ended;
    if (added.code === 0) outcomes.attached++;
    else {
      t.is(added.reply?.code, 11, added.stdout);
      outcomes.lost++;
    }
    // By the client alone; then by one that has an agent again.
    if (random.oneIn(2))
      await startAgentOn(host, {weft}).then((next) =>
        callPlugin(host, {...call, command: 'DEL'}).then(() => next.stop()),
      );
    else await callPlugin(host, {...call, command: 'DEL'});
    await assertNothingLeft(t, host, before);
  }
  t.log(outcomes);
});
