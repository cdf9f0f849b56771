import {globSync, readFileSync} from 'node:fs';
import path from 'node:path';
import {compareModes, type ModeHost} from './harness/both-modes.ts';
import {configurationOf, type Conflist} from './harness/chain.ts';
import {testWith} from './harness/needs.ts';
import {bridgeNetwork} from './harness/networks.ts';
import {overlayNode} from './harness/overlay-node.ts';
import {repository} from './harness/paths.ts';
import type {Reply} from './harness/plugin.ts';

// Stubs, and native clients with an agent, through the whole life of containers.

const test = testWith('root', 'apt', 'cc');
const long = 300_000;

/** What a runtime passes to plugins that declare the capability. */
const capabilityArgs = {
  portMappings: [
    {hostPort: 8080, containerPort: 80, protocol: 'tcp'},
    {hostPort: 5353, containerPort: 53, protocol: 'udp'},
  ],
  bandwidth: {ingressRate: 1_000_000, ingressBurst: 1_000_000},
  mac: '02:00:00:00:00:09',
  aliases: {'weft-named': ['web', 'www']},
};

interface Container {
  readonly netns: string;
  readonly containerId: string;
}

/** Calls each plugin of a chain, in a runtime's order; gives the last result of an ADD. */
async function callChain(
  {call}: ModeHost,
  conflist: Conflist,
  {
    title,
    command,
    container,
    prevResult,
    more = {},
  }: {
    readonly title: string;
    readonly command: string;
    readonly container?: Container;
    readonly prevResult?: Reply | undefined;
    readonly more?: Readonly<Record<string, unknown>>;
  },
): Promise<Reply | undefined> {
  let result = prevResult;
  const plugins = command === 'DEL' ? conflist.plugins.toReversed() : conflist.plugins;
  for (const plugin of plugins) {
    const conf = {...configurationOf(conflist, plugin, capabilityArgs), ...more};
    const {type} = plugin;
    const about = `${conflist.name} ${type}: ${title}`;
    const {code, reply} = await call(about, {type, command, conf, prevResult: result, ...container});
    if (command === 'ADD') {
      if (code !== 0) return undefined;
      result = reply;
    }
  }
  return result;
}

async function live(
  mode: ModeHost,
  conflist: Conflist,
  [first, second]: readonly [Container, Container],
): Promise<void> {
  const newest = {...conflist, cniVersion: '1.1.0'};
  await callChain(mode, newest, {title: 'STATUS', command: 'STATUS'});
  const one = await callChain(mode, conflist, {title: 'ADD', command: 'ADD', container: first});
  const two = await callChain(mode, conflist, {title: 'second ADD', command: 'ADD', container: second});
  await mode.recordState(`${conflist.name}: attached`);
  await callChain(mode, conflist, {title: 'CHECK', command: 'CHECK', container: first, prevResult: one});
  await callChain(mode, conflist, {title: 'ADD again', command: 'ADD', container: first});
  await callChain(mode, conflist, {title: 'DEL', command: 'DEL', container: first, prevResult: one});
  await callChain(mode, conflist, {title: 'DEL again', command: 'DEL', container: first, prevResult: one});
  await callChain(mode, conflist, {
    title: 'CHECK of what is gone',
    command: 'CHECK',
    container: first,
    prevResult: one,
  });
  const list = [{containerID: second.containerId, ifname: 'eth0'}];
  await callChain(mode, newest, {title: 'GC', command: 'GC', more: {'cni.dev/valid-attachments': list}});
  await callChain(mode, conflist, {
    title: 'CHECK after GC',
    command: 'CHECK',
    container: second,
    prevResult: two,
  });
  await callChain(mode, newest, {title: 'GC of all', command: 'GC', more: {'cni.dev/valid-attachments': []}});
  await callChain(mode, conflist, {title: 'DEL after GC', command: 'DEL', container: {...second, netns: ''}});
  await mode.recordState(`${conflist.name}: in the end`);
}

const conflists = globSync('conf/*.conflist', {cwd: repository})
  .toSorted()
  .map((file) => JSON.parse(readFileSync(path.join(repository, file), 'utf8')) as Conflist);

for (const [half, index] of [
  ['one half', 0],
  ['the other half', 1],
] as const) {
  test.serial(`the ready configurations, ${half}: two containers from ADD to GC`, async (t) => {
    t.timeout(long);
    const {served, refused} = await compareModes(t, async (mode) => {
      await mode.host.sh(overlayNode);
      for (const conflist of conflists.filter((_, i) => i % 2 === index)) {
        const pods = [`${conflist.name}-1`, `${conflist.name}-2`] as const;
        const [first, second] = await Promise.all(
          pods.map(async (containerId) => ({containerId, netns: await mode.host.addNetns(containerId)})),
        );
        await live(mode, conflist, [first!, second!]);
        for (const pod of pods) await mode.host.removeNetns(pod);
      }
    });
    t.true(served > 100, `${served} calls were served by the agent`);
    t.is(refused, 0);
  });
}

test.serial('every version of the protocol, large results, many at once', async (t) => {
  t.timeout(long);
  await compareModes(t, async (mode) => {
    const {host, call, record, recordState} = mode;
    const netns = await host.addNetns('pod');
    const pod = {netns, containerId: 'pod'};
    for (const cniVersion of ['0.1.0', '0.2.0', '0.3.0', '0.3.1', '0.4.0', '1.0.0', '1.1.0', '']) {
      const conf = bridgeNetwork({name: 'versions', cniVersion});
      const {reply} = await call(`ADD ${cniVersion}`, {type: 'bridge', command: 'ADD', conf, ...pod});
      for (const command of ['CHECK', 'DEL'])
        await call(`${command} ${cniVersion}`, {type: 'bridge', command, conf, ...pod, prevResult: reply});
    }

    const interfaces = Array.from({length: 3000}, (_, i) => ({
      name: `eth${i}`,
      mac: '02:00:00:00:00:01',
      sandbox: '/var/run/netns/some-namespace-of-a-container',
    }));
    const prevResult = {cniVersion: '1.0.0', interfaces};
    const loopback = {type: 'loopback', conf: {cniVersion: '1.0.0', name: 'lo'}, command: 'ADD', ...pod};
    const {stdout} = await call('300 kB there and back', {...loopback, prevResult});
    if (stdout.length < 300_000) throw new Error(`only ${stdout.length} bytes`);
    await call('1.2 MB, too large for the agent', {
      ...loopback,
      prevResult: {...prevResult, interfaces: Array.from({length: 4}, () => interfaces).flat()},
    });

    const conf = bridgeNetwork({name: 'crowd'});
    const pods = await host.addNetnses('crowd', 12);
    const outcomes = await Promise.all(
      pods.map((each, i) =>
        call(`ADD of ${i}, among others`, {
          type: 'bridge',
          command: 'ADD',
          conf: {...conf, ipMasq: true},
          netns: each,
          containerId: `crowd-${i}`,
          // Who comes first gets the first address: compared together below.
          script: '"$0" > /run/crowd-$CNI_CONTAINERID',
        }),
      ),
    );
    record(
      'exit codes',
      outcomes.map(({code}) => code),
    );
    const {stdout: addresses} = await host.sh(
      `cat /run/crowd-* | grep -o '"address": "[^"]*"' | sort; rm /run/crowd-*`,
    );
    record('addresses', addresses);
    const gc = {...conf, cniVersion: '1.1.0', 'cni.dev/valid-attachments': []};
    await call('GC of the crowd', {type: 'bridge', command: 'GC', conf: gc});
    await recordState('in the end');
  });
});
