import {existsSync, closeSync, openSync} from 'node:fs';
import os from 'node:os';
import {ensurePackages} from '../integration/harness/debian.ts';
import {
  addPod,
  agentConfig,
  putNetwork,
  startStore,
  storeMembership,
  storePrefix,
} from '../integration/harness/overlay-cluster.ts';
import {viewKernel} from '../integration/harness/overlay-kernel.ts';
import {pluginDir} from '../integration/harness/paths.ts';
import {startRig, type OverlayRig} from '../integration/harness/overlay-rig.ts';
import {measureRequests} from '../integration/harness/overlay-witness.ts';
import type {Etcd} from '../integration/harness/etcd.ts';
import {setns} from '../lib/netns/native.ts';
import {measurePeers, type PeerTimes} from './overlay-peers.ts';
import {makeByHand, measureThroughput, pathOf, type Path} from './overlay-traffic.ts';

/*
 * `npm run bench:overlay`: what the overlay costs, side by side with the same made by hand, in one run on two hosts in namespaces:
 * throughput and requests between containers, peers programmed per second, and the time from a write in etcd to the kernel.
 * Both hosts share this machine's processors, so figures are for comparison and not for a network. Root, and
 * `npm run build` first. ROUNDS and SECONDS in the environment change how much is measured.
 */

const rounds = Number(process.env['ROUNDS'] ?? 5);
const seconds = Number(process.env['SECONDS'] ?? 2);

const median = (values: readonly number[]) =>
  values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)]!;
const range = (values: readonly number[]) =>
  `${Math.min(...values).toFixed(2)} to ${Math.max(...values).toFixed(2)}`;

/** One line: ours, by hand, and ours as a share of the other. */
function compare(what: string, unit: string, ours: readonly number[], hand: readonly number[]): void {
  const [a, b] = [median(ours), median(hand)];
  console.log(
    `${what.padEnd(26)} ${a.toFixed(2).padStart(10)} ${b.toFixed(2).padStart(10)} ${unit.padEnd(8)} ${(a / b).toFixed(3)}   (${range(ours)}; ${range(hand)})`,
  );
}

async function benchTraffic(rig: OverlayRig): Promise<void> {
  const [h1, h2] = rig.hosts as [OverlayRig['hosts'][0], OverlayRig['hosts'][0]];
  const pods = [await addPod(h1, 'one'), await addPod(h2, 'two')] as const;
  const paths: readonly Path[] = [pathOf(...pods), await makeByHand(rig, {mtu: 1430})];
  const results = new Map<string, [number[], number[]]>();
  const note = (what: string, index: number, value: number) => {
    const known = results.get(what) ?? [[], []];
    known[index]!.push(value);
    results.set(what, known);
  };
  for (let round = 0; round < rounds; round++)
    // In turns, and each first as often as the other.
    for (const index of round % 2 === 0 ? [0, 1] : [1, 0]) {
      const path = paths[index]!;
      note('TCP, one flow', index, await measureThroughput(path, {seconds, flows: 1}));
      note('TCP, eight flows', index, await measureThroughput(path, {seconds, flows: 8}));
      const {from, to} = path;
      const requests = await measureRequests(
        {host: from.host.host, netns: from.netns},
        {host: to.host.host, netns: to.netns, address: to.address},
        seconds,
      );
      note('requests and answers', index, requests / 1000);
    }
  console.log(
    `${''.padEnd(26)} ${'weft'.padStart(10)} ${'by hand'.padStart(10)} ${''.padEnd(8)} share   (range of ${rounds} rounds each)`,
  );
  for (const [what, [ours, hand]] of results)
    compare(what, what.startsWith('TCP') ? 'Gbit/s' : '1000/s', ours, hand);
}

async function benchPeers(rig: OverlayRig): Promise<void> {
  console.log('\nPeers programmed (a neighbour, a forwarding entry and a route each), milliseconds:');
  console.log(
    `${'peers'.padStart(7)} ${'weft'.padStart(9)} ${'per s'.padStart(8)} ${'-batch'.padStart(9)} ${'per s'.padStart(8)}  compared again`,
  );
  for (const peers of [1000, 5000]) {
    const runs: PeerTimes[] = [];
    for (let round = 0; round < Math.min(rounds, 3); round++)
      runs.push(await measurePeers(rig.hosts[2]!.host, rig.hosts[2]!.ipv4, peers));
    const of = (key: 'oursMs' | 'batchMs' | 'compareMs') => median(runs.map((run) => run[key]));
    const [ours, batch] = [of('oursMs'), of('batchMs')];
    const rate = (ms: number) => Math.round((peers * 1000) / ms).toString();
    console.log(
      `${String(peers).padStart(7)} ${ours.toFixed(0).padStart(9)} ${rate(ours).padStart(8)} ${batch.toFixed(0).padStart(9)} ${rate(batch).padStart(8)}  ${of('compareMs').toFixed(0)}`,
    );
  }
}

async function benchConvergence(rig: OverlayRig, etcd: Etcd): Promise<void> {
  const kernel = viewKernel(rig.host('h1').host);
  // From here on this process speaks to etcd itself, from the store's namespace.
  const fd = openSync(`/proc/${rig.underlay.pid}/root/run/netns/store`, 'r');
  setns(fd);
  closeSync(fd);
  const times: number[] = [];
  for (let i = 0; i < 4 * rounds; i++) {
    const subnet = 100 + i;
    const mac = `02:00:00:00:02:${subnet.toString(16)}`;
    const value = {
      PublicIP: `192.168.50.${subnet}`,
      PublicIPv6: null,
      BackendType: 'vxlan',
      BackendData: {VNI: 1, VtepMAC: mac},
    };
    const started = performance.now();
    const put = fetch(`${etcd.endpoints[0]}/v3/kv/put`, {
      method: 'POST',
      body: JSON.stringify({
        key: btoa(`${storePrefix}/subnets/10.244.${subnet}.0-24`),
        value: btoa(JSON.stringify(value)),
      }),
    });
    await kernel.untilTrue(
      'the route',
      (lines) => lines.some((line) => line.startsWith(`route 10.244.${subnet}.`)),
      20_000,
    );
    times.push(performance.now() - started);
    await put;
  }
  kernel.close();
  console.log(
    `\nFrom a write in etcd to the kernel of another host: ${median(times).toFixed(1)} ms (${range(times)}, ${times.length} writes; the agent waits 10 ms for more)`,
  );
}

if (!existsSync(`${pluginDir}/vxlan`))
  throw new Error(`${pluginDir} has no plugins: run \`npm run build\` first`);
for (const set of ['tools', 'etcd', 'iperf'] as const) await ensurePackages(set);
console.log(
  `${os.cpus().length} processors (${os.cpus()[0]?.model}), kernel ${os.release()}, load ${os.loadavg()[0]!.toFixed(1)}\n`,
);
const rig = await startRig({hosts: 3});
let etcd: Etcd | undefined;
try {
  etcd = await startStore(rig);
  await putNetwork(etcd);
  for (const host of rig.hosts.slice(0, 2))
    await host.startAgent({
      ...agentConfig(host.name, storeMembership(etcd, {leaseTtlS: 600})),
      logLevel: 'warn',
    });
  await benchTraffic(rig);
  await benchPeers(rig);
  await benchConvergence(rig, etcd);
} finally {
  await rig.close();
  await etcd?.close();
}
