import {setTimeout} from 'node:timers/promises';
import {drawNetwork} from './harness/drawing.ts';
import {ensurePackages} from './harness/debian.ts';
import type {Etcd} from './harness/etcd.ts';
import type {RunningAgent} from './harness/overlay-agent.ts';
import {
  addPod,
  agentConfig,
  podConf,
  putNetwork,
  removePod,
  startStore,
  storeMembership,
  storePrefix,
  type Pod,
} from './harness/overlay-cluster.ts';
import {viewKernel} from './harness/overlay-kernel.ts';
import {pluginDir} from './harness/paths.ts';
import {startRig, type OverlayRig, type RigHost} from './harness/overlay-rig.ts';
import {startWitness} from './harness/overlay-witness.ts';
import {expect, runDemo, say, see} from './harness/narration.ts';

// `npm run demo:overlay`: two hosts in namespaces, a real etcd, an agent on each, containers made by the plugin. Everything is
// told as it is seen; the exit code is 0 only if all of it was seen to be true. Nothing of the machine is changed.

const ms = (took: number) => `${took.toFixed(0)} ms`;

async function pings(from: Pod, address: string): Promise<string> {
  const {host} = from.host;
  const {stdout} = await host.run(host.inNetns(from.name, ['ping', '-c', '1', '-W', '3', address]));
  return /time=[\d.]+ ms/.exec(stdout)?.[0] ?? '';
}

function traffic(from: Pod, to: Pod) {
  return startWitness(
    {host: from.host.host, netns: from.name},
    {host: to.host.host, netns: to.name, address: to.ipv4},
  );
}

/** Both hosts side by side with what they have, and the underlay that joins them. */
async function draw(pods: readonly Pod[]): Promise<string> {
  const pictures = await Promise.all(
    pods.map(async (pod) => {
      const {host, name, ipv4} = pod.host;
      const picture = (await drawNetwork(host, [{name: pod.name, result: pod.result}])).split('\n');
      const {stdout} = await host.run(['ip', '-d', '-o', 'link', 'show', 'flannel.1']);
      const vtep = /link\/ether (\S+)/.exec(stdout)?.[1] ?? '';
      return [
        `host ${name}, eth0 ${ipv4}`,
        `flannel.1  VNI 1  ${vtep}  mtu ${/mtu (\d+)/.exec(stdout)?.[1]}`,
        '   │ routes of the other hosts’ subnets',
        ...picture,
      ];
    }),
  );
  const width = Math.max(...pictures.flat().map((line) => line.length)) + 6;
  const rows = Math.max(...pictures.map((lines) => lines.length));
  const wire = ' VXLAN over 192.168.50.0/24, UDP port 8472 ';
  return [
    `       ┌──${wire.padEnd(width - 3, '─')}┐`,
    pictures
      .map(() => '       │'.padEnd(width))
      .join('')
      .trimEnd(),
    ...Array.from({length: rows}, (_, row) =>
      pictures
        .map((lines) => (lines[row] ?? '').padEnd(width))
        .join('')
        .trimEnd(),
    ),
  ].join('\n');
}

async function showFaults(
  rig: OverlayRig,
  agents: Map<string, RunningAgent>,
  etcd: Etcd,
  [one, two]: [Pod, Pod],
) {
  const [h1] = rig.hosts as [RigHost];
  const kernel = viewKernel(h1.host);
  const good = await kernel.lines();
  const config = agentConfig('h1', storeMembership(etcd));

  await see(
    'the agent of h1 is killed and started again under traffic: nothing is lost, nothing is touched',
    async () => {
      const witness = await traffic(one, two);
      const changes = await kernel.countChanges();
      await agents.get('h1')!.kill('KILL');
      await setTimeout(500);
      agents.set('h1', await h1.startAgent(config));
      const report = await witness.report();
      const touched = changes();
      expect(report.lost === 0 && report.tcp.closed === null, JSON.stringify(report));
      expect(touched.length === 0, touched.join(', '));
      return `${report.sent} packets, ${report.lost} lost, 0 changes to the kernel`;
    },
  );

  await see('ip link del flannel.1 on h1: it is back with all it had', async () => {
    const witness = await traffic(one, two);
    await h1.host.run(['ip', 'link', 'del', 'flannel.1']);
    const tookMs = await kernel.until(good, 10_000);
    await setTimeout(300);
    const report = await witness.report();
    expect(report.tcp.closed === null && report.tcp.answered === report.tcp.sent, JSON.stringify(report));
    return `whole again ${ms(tookMs)} after the command ended; ${ms(report.longestLossMs)} without answers; the TCP connection lives`;
  });

  await see('nft flush ruleset on h1: the overlay’s rules are back', async () => {
    await h1.host.run(['nft', 'flush', 'ruleset']);
    for (let i = 0; i < 500; i++) {
      const {stdout} = await h1.host.run(['nft', 'list', 'tables'], {log: () => {}});
      if (stdout.includes('weft-overlay-pods')) return;
      await setTimeout(10);
    }
    throw new Error('they are not');
  });

  await see('etcd is stopped: containers go on reaching each other', async () => {
    const witness = await traffic(one, two);
    await etcd.members[0]!.stop();
    await setTimeout(1500);
    const [network] = (await agents.get('h1')!.status()).networks;
    await etcd.members[0]!.start();
    const report = await witness.report();
    expect(report.lost === 0, JSON.stringify(report));
    expect(network?.membership.state === 'stale' && network.ready, JSON.stringify(network));
    return `${report.sent} packets, ${report.lost} lost; the agent says "${network!.membership.state}", and is ready`;
  });
  kernel.close();
}

async function main(): Promise<void> {
  say('weft: one network for containers on two hosts\n');
  await ensurePackages('etcd');
  const rig = await startRig({hosts: 2});
  let etcd: Etcd | undefined;
  try {
    etcd = await startStore(rig);
    await putNetwork(etcd);
    say(`Plugins: ${pluginDir}`);
    say(`etcd ${etcd.endpoints.join(', ')}, ${storePrefix}/config:`);
    say(`  ${(await etcd.ctl(['get', '--print-value-only', `${storePrefix}/config`])).stdout.trim()}\n`);
    const agents = new Map<string, RunningAgent>();
    say('What happens:\n');
    for (const host of rig.hosts)
      await see(`the agent of ${host.name} gets a subnet and is ready`, async () => {
        const started = performance.now();
        const agent = await host.startAgent(agentConfig(host.name, storeMembership(etcd!)));
        agents.set(host.name, agent);
        const [network] = (await agent.status()).networks;
        return `${network?.subnets.join(', ')} after ${ms(performance.now() - started)}`;
      });
    say(`\n/run/flannel/subnet.env of h1:\n\n${await rig.host('h1').host.read('/run/flannel/subnet.env')}`);
    say(`The network as the runtime has it:\n\n${JSON.stringify(podConf, null, 2)}\n`);
    const pods = await Promise.all(rig.hosts.map((host) => addPod(host, `on-${host.name}`)));
    const [one, two] = pods as [Pod, Pod];
    say(`${await draw(pods)}\n`);
    say('What it does:\n');
    for (const [from, to] of [
      [one, two],
      [two, one],
    ] as const)
      for (const address of [to.ipv4, to.ipv6])
        await see(`${from.name} pings ${to.name} at ${address}`, () => pings(from, address));
    await showFaults(rig, agents, etcd, [one, two]);
    for (const pod of pods) await see(`DEL takes ${pod.name} away`, () => removePod(pod));
  } finally {
    await rig.close();
    await etcd?.close();
  }
}

await runDemo('npm run demo:overlay', main);
