import {setTimeout} from 'node:timers/promises';
import type {ExecutionContext} from 'ava';
import {eventuallyPings, pings} from './harness/attachment.ts';
import type {Etcd} from './harness/etcd.ts';
import {testWith} from './harness/needs.ts';
import {waitFor, type RunningAgent} from './harness/overlay-agent.ts';
import {
  addPod,
  agentConfig,
  podConf,
  putNetwork,
  putPeer,
  removePeer,
  startStore,
  storeMembership,
  storePrefix,
  type Pod,
} from './harness/overlay-cluster.ts';
import {viewKernel, type KernelView} from './harness/overlay-kernel.ts';
import {startRig, type OverlayRig} from './harness/overlay-rig.ts';
import {startWitness, type Witness} from './harness/overlay-witness.ts';
import {tryPlugin} from './harness/plugin.ts';

/*
 * What may happen to the store, and what the store may say, with a real etcd: each fault, what follows, and how long that
 * took. A deadline is ten times the aim, because machines are busy.
 */

const test = testWith('root');
const serial = test.serial;

let rig: OverlayRig;
let etcd: Etcd;
let agents: Map<string, RunningAgent>;
let pods: Map<string, Pod>;
let kernel: KernelView;
const log: string[] = [];

const h1 = () => rig.host('h1').host;
const config = (name: string, membership: Readonly<Record<string, unknown>> = {}) =>
  agentConfig(name, storeMembership(etcd, membership));

test.before(async () => {
  rig = await startRig({hosts: 3, log: (line) => log.push(line)});
  etcd = await startStore(rig);
  await putNetwork(etcd);
  agents = new Map(
    await Promise.all(
      rig.hosts.map(async (host) => [host.name, await host.startAgent(config(host.name))] as const),
    ),
  );
  pods = new Map(
    await Promise.all(rig.hosts.map(async (host) => [host.name, await addPod(host, 'pod')] as const)),
  );
  kernel = viewKernel(h1());
  await kernel.untilTrue('all hosts to be known', (lines) => countRoutes(lines) === 4, 30_000);
});

test.after.always(async () => {
  kernel?.close();
  await rig?.close();
  await etcd?.close();
});

test.afterEach.always((t) => {
  if (!t.passed) for (const line of log.slice(-100)) t.log(line);
  log.length = 0;
});

/** Two for each other host: one per family. */
const countRoutes = (lines: readonly string[]) => lines.filter((line) => line.startsWith('route')).length;

function traffic(): Promise<Witness> {
  const [from, to] = [pods.get('h1')!, pods.get('h2')!];
  return startWitness(
    {host: from.host.host, netns: 'pod'},
    {host: to.host.host, netns: 'pod', address: to.ipv4},
  );
}

async function assertNothingLost(t: ExecutionContext, witness: Witness): Promise<void> {
  const report = await witness.report();
  t.is(report.lost, 0, JSON.stringify(report));
  t.is(report.tcp.closed, null);
  t.is(report.tcp.answered, report.tcp.sent);
}

function tell(
  t: ExecutionContext,
  what: string,
  {tookMs, aimMs}: {readonly tookMs: number; readonly aimMs: number},
) {
  t.log(`${what}: ${tookMs.toFixed(0)} ms (aim ${aimMs} ms)`);
  t.true(tookMs <= Math.max(10 * aimMs, 15_000));
}

/** Packets between a host and the store go no further. */
async function cutOff(name: string): Promise<() => Promise<void>> {
  const {host} = rig.host(name);
  await host.run(['nft', '-f', '-'], {
    stdin: `table inet cut {
      chain out { type filter hook output priority 0; tcp dport 2379 drop; }
      chain in { type filter hook input priority 0; tcp sport 2379 drop; }
    }
`,
  });
  return async () => void (await host.run(['nft', 'delete', 'table', 'inet', 'cut']));
}

async function network(name: string) {
  const {networks} = await agents.get(name)!.status();
  return networks[0]!;
}

async function untilState(name: string, state: string, agent = agents.get(name)!): Promise<number> {
  let found: string | undefined;
  return waitFor(
    `membership of ${name} to be ${state}`,
    async () => (found = (await agent.status()).networks[0]?.membership.state) === state,
    {timeoutMs: 30_000, explain: () => String(found)},
  );
}

const keysOfSubnets = async () =>
  (await etcd.ctl(['get', '--prefix', `${storePrefix}/subnets/`, '--keys-only'])).stdout
    .split('\n')
    .filter((line) => line !== '')
    .toSorted();

async function keyOf(name: string): Promise<string> {
  const [ipv4] = (await network(name)).subnets;
  return (await keysOfSubnets()).find((key) => key.includes(ipv4!.replace('/', '-')))!;
}

serial('each host has a subnet of its own, and containers reach each other', async (t) => {
  const subnets = await Promise.all(rig.hosts.map(async ({name}) => (await network(name)).subnets[0]));
  t.is(new Set(subnets).size, 3);
  for (const [from, to] of [
    ['h1', 'h2'],
    ['h2', 'h3'],
    ['h3', 'h1'],
  ] as const)
    for (const address of [pods.get(to)!.ipv4, pods.get(to)!.ipv6])
      // Each host hears of the others in its own time.
      await eventuallyPings(rig.host(from).host, 'pod', address);
  t.pass();
});

serial('figures of a network that works', async (t) => {
  const metric = await agents.get('h1')!.metrics();
  const of = (name: string, labels = {}) => metric(`weft_overlay_${name}`, {network: 'pods', ...labels});
  t.is(of('ready'), 1);
  t.is(of('peers', {state: 'desired'}), 2);
  t.is(of('peers', {state: 'programmed'}), 2);
  t.is(of('peers', {state: 'failed'}), 0);
  t.is(of('mtu'), 1430);
  t.true(of('membership_revision') > 1);
  t.true(of('lease_remaining_seconds') > 0 && of('lease_remaining_seconds') <= 300);
  t.true(of('convergence_seconds_count') > 0 && of('reconcile_seconds_count') > 0);
  t.true(of('ops_total', {kind: 'route', op: 'set', result: 'done'}) >= 4);
  for (const none of [
    'drift_repaired_total',
    'stale_gc_total',
    'duplicates',
    'held_peers',
    'conflict',
    'nl_enobufs_total',
  ])
    t.is(of(none), 0, none);
});

serial('from a write in the store to the kernel', async (t) => {
  const before = await kernel.lines();
  const times: number[] = [];
  for (let i = 100; i < 105; i++) {
    await putPeer(etcd, i, {mac: `02:00:00:00:01:${i.toString(16)}`});
    times.push(
      await kernel.untilTrue(
        'the new peer',
        (lines) => lines.some((line) => line.startsWith(`route 10.244.${i}.`)),
        5000,
      ),
    );
  }
  tell(t, `known to the kernel after etcdctl has ended (${times.map((ms) => ms.toFixed(0)).join(', ')})`, {
    tookMs: Math.max(...times),
    aimMs: 100,
  });
  for (let i = 100; i < 105; i++) await removePeer(etcd, i);
  await kernel.until(before, 20_000);
  t.true((await agents.get('h1')!.metric('weft_overlay_passes_total', {kind: 'delta'})) > 0);
});

serial('only the hardware address of a peer changes', async (t) => {
  const before = await kernel.lines();
  await putPeer(etcd, 120, {mac: '02:00:00:00:00:01'});
  await kernel.untilTrue(
    'the peer',
    (lines) => lines.includes('fdb flannel.1 02:00:00:00:00:01 192.168.50.120'),
    20_000,
  );
  await putPeer(etcd, 120, {mac: '02:00:00:00:00:02'});
  const tookMs = await kernel.untilTrue(
    'the new address alone',
    (lines) =>
      lines.includes('fdb flannel.1 02:00:00:00:00:02 192.168.50.120') &&
      lines.includes('neigh flannel.1 10.244.120.0 02:00:00:00:00:02') &&
      !lines.some((line) => line.includes('02:00:00:00:00:01')),
    20_000,
  );
  tell(t, 'followed', {tookMs, aimMs: 200});
  await removePeer(etcd, 120);
  await kernel.until(before, 20_000);
});

serial(
  'a host is replaced: by another at the same address, at another address, and one hardware address twice',
  async (t) => {
    const before = await kernel.lines();
    const of = (index: number) => (lines: readonly string[]) =>
      lines.filter((line) => line.includes(`10.244.${index}.`) || line.includes('192.168.50.13')).join('\n');
    await putPeer(etcd, 130, {mac: '02:00:00:00:00:01', ip: '192.168.50.130'});
    await kernel.untilTrue('the first', (lines) => of(130)(lines).includes('route'), 20_000);
    // Another subnet, another hardware address, the same host address.
    await removePeer(etcd, 130);
    await putPeer(etcd, 131, {mac: '02:00:00:00:00:02', ip: '192.168.50.130'});
    await kernel.untilTrue(
      'the second in place of the first',
      (lines) =>
        lines.includes('fdb flannel.1 02:00:00:00:00:02 192.168.50.130') &&
        !lines.some((line) => line.includes('02:00:00:00:00:01') || line.includes('10.244.130.')),
      5000,
    );
    // The same host at another address.
    await putPeer(etcd, 131, {mac: '02:00:00:00:00:02', ip: '192.168.50.139'});
    await kernel.untilTrue(
      'the new address',
      (lines) =>
        lines.includes('fdb flannel.1 02:00:00:00:00:02 192.168.50.139') &&
        !lines.some((line) => line.endsWith('192.168.50.130')),
      5000,
    );
    // A clone of it: the older record stands.
    await putPeer(etcd, 132, {mac: '02:00:00:00:00:02', ip: '192.168.50.132'});
    const agent = agents.get('h1')!;
    await waitFor(
      'the conflict to be counted',
      async () => (await agent.metric('weft_overlay_duplicates', {kind: 'mac'})) === 1,
      {timeoutMs: 20_000},
    );
    const lines = await kernel.lines();
    t.true(lines.includes('fdb flannel.1 02:00:00:00:00:02 192.168.50.139'));
    t.false(lines.some((line) => line.includes('10.244.132.')));
    t.is(
      (await network('h1')).peers.find(({subnets}) => subnets[0] === '10.244.132.0/24')?.state,
      'left out',
    );
    t.true(await agent.isReady());
    await removePeer(etcd, 131);
    await kernel.untilTrue(
      'the clone alone',
      (now) => now.includes('fdb flannel.1 02:00:00:00:00:02 192.168.50.132'),
      5000,
    );
    await removePeer(etcd, 132);
    await kernel.until(before, 20_000);
  },
);

serial('etcd is stopped and frozen: nothing is lost, and hosts say what they lack', async (t) => {
  const witness = await traffic();
  const [member] = etcd.members;
  await member!.stop();
  await untilState('h1', 'stale');
  t.true(await agents.get('h1')!.isReady(), 'what works stays ready');
  await member!.start();
  tell(t, 'connected again after the start', {tookMs: await untilState('h1', 'ready'), aimMs: 1000});
  member!.pause();
  await untilState('h1', 'stale');
  member!.resume();
  tell(t, 'connected again after SIGCONT', {tookMs: await untilState('h1', 'ready'), aimMs: 1000});
  await assertNothingLost(t, witness);
});

serial('cut off from the store while it changes and is compacted: all of it is caught up with', async (t) => {
  await putPeer(etcd, 140, {mac: '02:00:00:00:00:01'});
  await putPeer(etcd, 141, {mac: '02:00:00:00:00:02'});
  await kernel.untilTrue('both peers', (lines) => countRoutes(lines) === 6, 20_000);
  const witness = await traffic();
  const connect = await cutOff('h1');
  await untilState('h1', 'stale');
  await putPeer(etcd, 140, {mac: '02:00:00:00:00:03'});
  await removePeer(etcd, 141);
  await putPeer(etcd, 142, {mac: '02:00:00:00:00:04'});
  const {stdout} = await etcd.ctl(['endpoint', 'status', '-w', 'json']);
  const [{Status}] = JSON.parse(stdout) as [{Status: {header: {revision: number}}}];
  await etcd.ctl(['compact', String(Status.header.revision)]);
  t.is(countRoutes(await kernel.lines()), 6, 'nothing is given up meanwhile');
  await connect();
  const tookMs = await kernel.untilTrue(
    'what the store says now',
    (lines) =>
      lines.includes('fdb flannel.1 02:00:00:00:00:03 192.168.50.140') &&
      lines.includes('fdb flannel.1 02:00:00:00:00:04 192.168.50.142') &&
      !lines.some((line) => /02:00:00:00:00:0[12]|10\.244\.141\./.test(line)),
    20_000,
  );
  tell(t, 'caught up', {tookMs, aimMs: 2000});
  await assertNothingLost(t, witness);
  for (const index of [140, 142]) await removePeer(etcd, index);
  await kernel.untilTrue('them to go', (lines) => countRoutes(lines) === 4, 20_000);
});

serial('the store loses its data: every host takes the subnet again that it had', async (t) => {
  const [before, keys] = [await kernel.lines(), await keysOfSubnets()];
  t.is(keys.length, 3);
  const witness = await traffic();
  const [member] = etcd.members;
  await member!.wipe();
  await member!.start();
  const tookMs = await waitFor('the same keys', async () => (await keysOfSubnets()).join() === keys.join(), {
    timeoutMs: 20_000,
    explain: async () => (await keysOfSubnets()).join(),
  });
  tell(t, 'all keys there again', {tookMs, aimMs: 2000});
  await putNetwork(etcd);
  for (const {name} of rig.hosts) await untilState(name, 'ready');
  await setTimeout(200);
  t.deepEqual(await kernel.lines(), before);
  await assertNothingLost(t, witness);
});

serial(
  'a lease is revoked, and another runs out while the agent is frozen: the same subnets again',
  async (t) => {
    const key = await keyOf('h1');
    const witness = await traffic();
    const {stdout} = await etcd.ctl(['get', key, '-w', 'json']);
    const {kvs} = JSON.parse(stdout) as {kvs: [{lease: number}]};
    // A lease's number may be more than a double holds.
    const lease = /"lease":(\d+)/.exec(stdout)?.[1] ?? String(kvs[0].lease);
    await etcd.ctl(['lease', 'revoke', BigInt(lease).toString(16)]);
    const tookMs = await waitFor(
      'the key to be there again',
      async () => (await keysOfSubnets()).includes(key),
      {timeoutMs: 20_000},
    );
    tell(t, 'taken again after it was revoked', {tookMs, aimMs: 1000});
    // As long as the others keep a host that is gone (`removalDelayMs`), they do not notice.
    if (tookMs < 700) await assertNothingLost(t, witness);
    else t.log(`${(await witness.report()).lost} packets lost`);

    const of3 = await keyOf('h3');
    await agents.get('h3')!.kill('TERM');
    const agent = await rig.host('h3').startAgent(config('h3', {leaseTtlS: 5}));
    await untilState('h3', 'ready', agent);
    await agent.kill('STOP');
    await waitFor('the lease to run out', async () => !(await keysOfSubnets()).includes(of3), {
      timeoutMs: 30_000,
      intervalMs: 100,
    });
    await kernel.untilTrue('its entries to go', (lines) => countRoutes(lines) === 2, 20_000);
    await agent.kill('CONT');
    const back = await waitFor(
      'its key to be there again',
      async () => (await keysOfSubnets()).includes(of3),
      {timeoutMs: 20_000},
    );
    tell(t, 'taken again after it ran out', {tookMs: back, aimMs: 2000});
    await kernel.untilTrue('its entries', (lines) => countRoutes(lines) === 4, 20_000);
    await eventuallyPings(h1(), 'pod', pods.get('h3')!.ipv4);
    await agent.kill('TERM');
    agents.set('h3', await rig.host('h3').startAgent(config('h3')));
  },
);

serial(
  'another host takes our subnet: a conflict, no new containers, and never another subnet',
  async (t) => {
    const {host} = rig.host('h3');
    const agent = agents.get('h3')!;
    const key = await keyOf('h3');
    const [subnets] = [(await network('h3')).subnets];
    const connect = await cutOff('h3');
    await untilState('h3', 'stale');
    const thief = {
      PublicIP: '192.168.50.77',
      PublicIPv6: null,
      BackendType: 'vxlan',
      BackendData: {VNI: 1, VtepMAC: '02:00:00:00:00:77'},
    };
    await etcd.ctl(['put', key, JSON.stringify({...thief, Weft: {v: 1, id: 'thief'}})]);
    await connect();
    await untilState('h3', 'conflict');
    await waitFor('it not to be ready', async () => !(await agent.isReady()), {timeoutMs: 20_000});
    const {reasons, ...conflicted} = await network('h3');
    t.regex(reasons.join(), /conflict/);
    t.deepEqual(conflicted.subnets, subnets);
    t.is(await agent.metric('weft_overlay_conflict'), 1);
    const status = await tryPlugin(host, {command: 'STATUS', conf: {...podConf, cniVersion: '1.1.0'}});
    t.is(status.reply?.code, 50, status.stdout);
    t.regex(status.stdout, /conflict/);
    const refused = await tryPlugin(host, {
      command: 'ADD',
      conf: podConf,
      containerId: 'new',
      netns: await host.addNetns('new'),
    });
    t.is(refused.reply?.code, 11, refused.stdout);
    // What runs goes on running: nothing of it was taken away.
    const own = viewKernel(host);
    t.is(countRoutes(await own.lines()), 4);
    own.close();
    await etcd.ctl(['del', key]);
    const tookMs = await untilState('h3', 'ready');
    tell(t, 'solved after the key was removed', {tookMs, aimMs: 1000});
    t.deepEqual((await network('h3')).subnets, subnets);
    await agent.untilReady(10_000);
  },
);

serial('the address of a host changes: its peers follow, its subnet stays', async (t) => {
  const {host} = rig.host('h2');
  const [subnets] = [(await network('h2')).subnets];
  const mac = (await kernel.lines())
    .find((line) => line.startsWith('fdb flannel.1') && line.endsWith('192.168.50.12'))!
    .split(' ')[2];
  await host.sh(
    `ip address del 192.168.50.12/24 dev eth0; ip address add 192.168.50.112/24 dev eth0; ip route replace default via 192.168.50.1`,
  );
  const tookMs = await kernel.untilTrue(
    'the new address',
    (lines) =>
      lines.includes(`fdb flannel.1 ${mac} 192.168.50.112`) &&
      !lines.some((line) => line.endsWith('192.168.50.12')),
    20_000,
  );
  tell(t, 'in the kernel of another host', {tookMs, aimMs: 1000});
  t.deepEqual((await network('h2')).subnets, subnets);
  await eventuallyPings(h1(), 'pod', pods.get('h2')!.ipv4);
  await host.sh(
    `ip address del 192.168.50.112/24 dev eth0; ip address add 192.168.50.12/24 dev eth0; ip route replace default via 192.168.50.1`,
  );
  await kernel.untilTrue(
    'the old address',
    (lines) => lines.includes(`fdb flannel.1 ${mac} 192.168.50.12`),
    20_000,
  );
});

serial('the MTU of the underlay changes: devices, subnet file, and the routes of others', async (t) => {
  const {host} = rig.host('h2');
  for (const [mtu, route] of [
    [1400, ' mtu 1330'],
    [9000, ''],
    // The least of both families: what containers have.
    [1500, ' mtu 1430'],
  ] as const) {
    await host.run(['ip', 'link', 'set', 'eth0', 'mtu', String(mtu)]);
    const wanted = new RegExp(`^route 10\\.244\\.\\d+\\.0/24 via \\S+ flannel\\.1${route}$`);
    const own = (await network('h2')).subnets[0]!;
    const tookMs = await waitFor(
      `MTU ${mtu} everywhere`,
      async () => {
        const file = await host.read('/run/flannel/subnet.env');
        const link = await host.run(['ip', '-o', 'link', 'show', 'flannel-v6.1'], {log: () => {}});
        const there = (await kernel.lines()).find((line) => line.startsWith(`route ${own} `)) ?? '';
        return (
          file.includes(`FLANNEL_MTU=${mtu - 70}\n`) &&
          link.stdout.includes(`mtu ${mtu - 70} `) &&
          wanted.test(there)
        );
      },
      {timeoutMs: 20_000},
    );
    tell(t, `MTU ${mtu}`, {tookMs, aimMs: 1000});
  }
});

serial(
  'the VNI and port of the network change: every host follows, nothing of the old is left',
  async (t) => {
    const before = await kernel.lines();
    const witness = await traffic();
    await putNetwork(etcd, {Backend: {Type: 'vxlan', VNI: 6, Port: 4789}});
    const tookMs = await kernel.untilTrue(
      'the new devices alone',
      (lines) =>
        lines.filter((line) => line.startsWith('link ')).every((line) => / flannel(-v6)?\.6 /.test(line)) &&
        countRoutes(lines) === 4,
      20_000,
    );
    tell(t, 'followed', {tookMs, aimMs: 1000});
    await waitFor('containers to reach each other', () => pings(h1(), 'pod', pods.get('h2')!.ipv4), {
      timeoutMs: 20_000,
    });
    await putNetwork(etcd);
    await kernel.until(before, 20_000);
    await setTimeout(500);
    const report = await witness.report();
    t.log(`two changes: ${report.longestLossMs.toFixed(0)} ms without answers at most`);
    t.is(report.tcp.closed, null);
  },
);

serial(
  'an agent is upgraded under traffic: no packet is lost, containers can be made all the time',
  async (t) => {
    const witness = await traffic();
    const changes = await kernel.countChanges();
    const old = agents.get('h1')!;
    const next = await rig.host('h1').startAgent(config('h1'));
    agents.set('h1', next);
    t.is(await Promise.race([old.ended, setTimeout(20_000, 'still there', {ref: false})]), 0);
    await next.untilReady();
    t.true(JSON.parse(await h1().read('/run/weft/overlay/pods.json')).ready);
    t.deepEqual(changes(), []);
    await assertNothingLost(t, witness);
    t.not((await addPod(rig.host('h1'), 'later')).ipv4, '');
  },
);
