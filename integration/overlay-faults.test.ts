import {once} from 'node:events';
import {setTimeout} from 'node:timers/promises';
import type {ExecutionContext} from 'ava';
import {pings} from './harness/attachment.ts';
import {testWith} from './harness/needs.ts';
import {waitFor, type RunningAgent} from './harness/overlay-agent.ts';
import {
  addPod,
  removePod,
  agentConfig,
  startStatic,
  staticFile,
  staticNode,
  writeStatic,
  type Pod,
} from './harness/overlay-cluster.ts';
import {viewKernel, type KernelView} from './harness/overlay-kernel.ts';
import {pluginDir} from './harness/paths.ts';
import {startRig, type OverlayRig} from './harness/overlay-rig.ts';
import {startWitness, type Witness} from './harness/overlay-witness.ts';

/*
 * What may happen to a host, with a static membership: each fault, what follows, and how long that took. A deadline is ten
 * times the aim, because machines are busy.
 */

const test = testWith('root');
const serial = test.serial;

let rig: OverlayRig;
let agents: Map<string, RunningAgent>;
let pods: Map<string, Pod>;
let kernel: KernelView;
/** The kernel of h1 as it shall be. */
let good: readonly string[];
const log: string[] = [];

const nodes = () => rig.hosts.map((host, index) => staticNode(host, index + 1));
const config = (overlay: Readonly<Record<string, unknown>> = {}) =>
  agentConfig('h1', {type: 'static', file: staticFile}, {overlay});

test.before(async () => {
  rig = await startRig({hosts: 3, far: true, log: (line) => log.push(line)});
  agents = await startStatic(rig);
  pods = new Map(
    await Promise.all(rig.hosts.map(async (host) => [host.name, await addPod(host, 'pod')] as const)),
  );
  kernel = viewKernel(rig.host('h1').host);
  good = await kernel.lines();
});

test.after.always(async () => {
  kernel?.close();
  await rig?.close();
});

test.afterEach.always((t) => {
  if (!t.passed) for (const line of log.slice(-80)) t.log(line);
  log.length = 0;
});

const h1 = () => rig.host('h1').host;

function traffic(to = 'h2'): Promise<Witness> {
  const [from, target] = [pods.get('h1')!, pods.get(to)!];
  return startWitness(
    {host: from.host.host, netns: 'pod'},
    {host: target.host.host, netns: 'pod', address: target.ipv4},
  );
}

/** Prints what was measured beside the aim; the deadline was met already. */
function tell(
  t: ExecutionContext,
  what: string,
  {tookMs, aimMs}: {readonly tookMs: number; readonly aimMs: number},
) {
  t.log(`${what}: ${tookMs.toFixed(0)} ms (aim ${aimMs} ms)`);
  t.true(tookMs <= Math.max(10 * aimMs, 15_000));
}

async function restart(options: Parameters<typeof config>[0] = {}): Promise<RunningAgent> {
  const agent = await rig.host('h1').startAgent(config(options));
  agents.set('h1', agent);
  return agent;
}

serial('kill -9 and a new start: no packet is lost, and nothing is done to the kernel', async (t) => {
  const witness = await traffic();
  const changes = await kernel.countChanges();
  await agents.get('h1')!.kill('KILL');
  await setTimeout(200);
  const agent = await restart();
  await agent.ask('POST', '/reconcile');
  const report = await witness.report();
  t.is(report.lost, 0, JSON.stringify(report));
  t.is(report.tcp.closed, null);
  t.deepEqual(changes(), []);
  t.is(await agent.metric('weft_overlay_ops_total'), 0);
  t.deepEqual(await kernel.lines(), [...good]);
});

serial('a peer that went while the agent was down is gone a moment after the start', async (t) => {
  await agents.get('h1')!.kill('TERM');
  t.is(await agents.get('h1')!.ended, 0);
  t.deepEqual(await kernel.lines(), [...good], 'SIGTERM leaves the kernel as it is');
  await writeStatic(
    rig.host('h1'),
    nodes().filter(({name}) => name !== 'h3'),
  );
  const agent = await restart();
  const without = good.filter((line) => !/192\.168\.50\.13|fd00:50::13|10\.244\.3\.|244:0:3:/.test(line));
  // The neighbours name no address of the host but that of its VTEP.
  const tookMs = await kernel.until(without, 10_000);
  tell(t, 'entries of the peer gone after ready', {tookMs, aimMs: 1000});
  t.true((await agent.metric('weft_overlay_stale_gc_total')) >= 6);
  await writeStatic(rig.host('h1'), nodes());
  await kernel.until(good, 20_000);
});

serial('ip link del: the device and all peers are back, with the same hardware address', async (t) => {
  const witness = await traffic();
  await h1().run(['ip', 'link', 'del', 'flannel.1']);
  const tookMs = await kernel.until(good, 20_000);
  tell(t, 'device and peers back', {tookMs, aimMs: 300});
  await setTimeout(300);
  const report = await witness.report();
  t.log(
    `lost: ${report.lost} packets, ${report.longestLossMs.toFixed(0)} ms; TCP stalled for ${report.tcp.longestStallMs.toFixed(0)} ms`,
  );
  t.is(report.tcp.closed, null);
  t.true((await agents.get('h1')!.metric('weft_overlay_drift_repaired_total')) > 0);
});

const damages: readonly (readonly [what: string, script: string])[] = [
  ['the device down', 'ip link set flannel.1 down'],
  ['the device down and up', 'ip link set flannel.1 down; ip link set flannel.1 up'],
  ['another hardware address', 'ip link set flannel.1 address 02:aa:bb:cc:dd:ee'],
  ['another MTU', 'ip link set flannel.1 mtu 1400'],
  ['ip neigh flush', 'ip neigh flush nud permanent dev flannel.1'],
  ['ip route flush', 'ip route flush proto 119; ip -6 route flush proto 119'],
  ['one route replaced', 'ip route replace blackhole 10.244.2.0/24 proto 119'],
  [
    'bridge fdb del',
    'bridge fdb show dev flannel.1 | while read mac rest; do bridge fdb del $mac dev flannel.1; done',
  ],
  ['an entry of strangers', 'bridge fdb replace 02:00:00:00:00:99 dev flannel.1 dst 192.168.50.99'],
  [
    'a neighbour replaced',
    'ip neigh replace 10.244.2.0 lladdr 02:00:00:00:00:99 dev flannel.1 nud permanent',
  ],
  ['the address gone', 'ip address del 10.244.1.0/32 dev flannel.1'],
  ['an address more', 'ip address add 10.244.1.77/32 dev flannel.1'],
  ['the IPv6 device gone', 'ip link del flannel-v6.1'],
];

for (const [what, script] of damages)
  serial(`repaired because the kernel told: ${what}`, async (t) => {
    await h1().sh(script);
    const tookMs = await kernel.until(good, 20_000);
    tell(t, 'repaired', {tookMs, aimMs: 200});
  });

serial(
  'what is none of its business wakes nobody: containers that come and go, other rules and routes',
  async (t) => {
    const agent = agents.get('h1')!;
    // The echoes of what was repaired last are heard first.
    await agent.ask('POST', '/reconcile');
    await setTimeout(300);
    const before = await agent.metric('weft_overlay_passes_total');
    const pod = await addPod(rig.host('h1'), 'passing');
    await removePod(pod);
    await h1().sh(`ip link add other type veth peer name another
    ip link set other up
    ip address add 10.9.9.1/24 dev other
    ip route add 10.8.0.0/16 via 10.9.9.2
    ip neigh add 10.9.9.2 lladdr 02:00:00:00:00:09 dev other nud permanent
    nft add table inet others
    nft delete table inet others
    ip link del other`);
    await setTimeout(300);
    t.is(await agent.metric('weft_overlay_passes_total'), before);
  },
);

serial('repaired by the clock where nothing is heard of the kernel', async (t) => {
  await agents.get('h1')!.kill('KILL');
  await restart({monitor: false, resyncMs: 500});
  for (const [what, script] of damages.slice(0, 6)) {
    await h1().sh(script);
    const tookMs = await kernel.until(good, 20_000);
    tell(t, `${what}, every 500 ms`, {tookMs, aimMs: 600});
  }
  await agents.get('h1')!.kill('KILL');
  await restart();
});

serial('SIGHUP and POST /reconcile look at everything', async (t) => {
  await agents.get('h1')!.kill('KILL');
  const agent = await restart({monitor: false, resyncMs: 3_600_000});
  for (const [how, ask] of [
    ['SIGHUP', () => agent.kill('HUP')],
    ['POST /reconcile', async () => void (await agent.ask('POST', '/reconcile'))],
  ] as const) {
    await h1().run(['ip', 'link', 'del', 'flannel.1']);
    await ask();
    tell(t, how, {tookMs: await kernel.until(good, 20_000), aimMs: 300});
  }
  await agents.get('h1')!.kill('KILL');
  await restart();
});

serial('the underlay goes and comes back', async (t) => {
  const agent = agents.get('h1')!;
  await rig.host('h1').unplug();
  await kernel.untilTrue(
    'the devices to go',
    (lines) => !lines.some((line) => line.startsWith('link')),
    20_000,
  );
  t.deepEqual(await kernel.lines(), []);
  t.false(await agent.isReady());
  const {networks} = await agent.status();
  t.regex(networks[0]!.reasons.join(), /underlay: there is no interface eth0/);
  await rig.host('h1').plug();
  const tookMs = await kernel.until(good, 20_000);
  tell(t, 'everything back', {tookMs, aimMs: 1000});
  await agent.untilReady(20_000);
  t.true(await pings(h1(), 'pod', pods.get('h2')!.ipv4));
});

serial('nft flush ruleset: the rules are back', async (t) => {
  const list = async () => (await h1().sh('nft list ruleset | sed "s/packets [0-9]* bytes [0-9]*//"')).stdout;
  const before = await list();
  t.regex(before, /weft-overlay-pods/);
  await h1().run(['nft', 'flush', 'ruleset']);
  const tookMs = await waitFor(
    'the rules',
    async () => (await list()).includes('table inet weft-overlay-pods'),
    {
      timeoutMs: 20_000,
    },
  );
  tell(t, 'rules back', {tookMs, aimMs: 300});
  // The masquerading of live containers is not the overlay's; what is, is the same to the letter.
  const own = (text: string) => /table inet weft-overlay-pods \{[^]*?\n\}/.exec(text)?.[0];
  t.is(own(await list()), own(before));
  for (const part of ['chain inet weft-overlay-pods postrouting', 'set inet weft-overlay-pods members4']) {
    await h1().run(['nft', `flush ${part}`]);
    tell(t, `flush ${part}`, {
      tookMs: await waitFor(part, async () => own(await list()) === own(before), {timeoutMs: 20_000}),
      aimMs: 300,
    });
  }
});

serial('a stranger sends VXLAN to a member: it is dropped and counted', async (t) => {
  const {underlay} = rig;
  const inside = (argv: string[]) => underlay.run(underlay.inNetns('store', argv), {mayFail: true});
  const [peer, pod] = [kernelMac(), pods.get('h1')!.ipv4];
  const before = await agents.get('h1')!.metric('weft_overlay_filter_drops');
  // A VTEP that pretends to be h2 in everything but its address in the underlay.
  await underlay.sh(
    `inside() { nsenter --net=/run/netns/store "$@"; }
    inside ip link add evil type vxlan id 1 local 192.168.50.2 dev eth0 dstport 8472 nolearning
    inside ip link set evil up
    inside ip address add 10.244.2.77/32 dev evil
    inside ip neigh add 10.244.1.0 lladdr "$1" dev evil nud permanent
    inside bridge fdb add "$1" dev evil dst "$2"
    inside ip route add 10.244.1.0/24 via 10.244.1.0 dev evil onlink`,
    {args: [peer, rig.host('h1').ipv4]},
  );
  const heard = h1().start(
    h1ns([
      'timeout',
      '5',
      'sh',
      '-c',
      'echo ready; cat /proc/net/snmp | grep Icmp: | tail -1; sleep 2; cat /proc/net/snmp | grep Icmp: | tail -1',
    ]),
  );
  let said = '';
  heard.stdout!.on('data', (chunk: Buffer) => (said += chunk.toString()));
  await once(heard.stdout!, 'data');
  t.not((await inside(['ping', '-c', '3', '-i', '0.2', '-W', '1', pod])).code, 0);
  await once(heard, 'exit');
  const counts = said.split('\n').filter((line) => line.startsWith('Icmp:'));
  t.is(counts[0], counts[1], 'nothing of it reached the container');
  await agents.get('h1')!.ask('POST', '/reconcile');
  t.true((await agents.get('h1')!.metric('weft_overlay_filter_drops')) >= before + 3);
  // The rule has counted, and is still the same rule.
  t.is(await agents.get('h1')!.metric('weft_overlay_drift_repaired_total', {kind: 'nft'}), await repairs());
  await inside(['ip', 'link', 'del', 'evil']);
});

const kernelMac = () => good.find((line) => line.startsWith('link flannel.1 '))!.split(' ')[2]!;

async function repairs(): Promise<number> {
  const agent = agents.get('h1')!;
  const before = await agent.metric('weft_overlay_drift_repaired_total', {kind: 'nft'});
  await agent.ask('POST', '/reconcile');
  return before;
}

serial('an underlay that loses a family and gets it back: containers keep both', async (t) => {
  const h2 = pods.get('h2')!;
  await h1().run(['ip', 'address', 'del', `${rig.host('h1').ipv6}/64`, 'dev', 'eth0']);
  const tookMs = await kernel.untilTrue(
    'IPv6 to go through the other device',
    (lines) => lines.filter((line) => /^route fd00:244:.* flannel.1$/.test(line)).length === 3,
    20_000,
  );
  tell(t, 'IPv6 of containers through the tunnel over IPv4', {tookMs, aimMs: 1000});
  await h1().run(['ip', 'address', 'add', `${rig.host('h1').ipv6}/64`, 'dev', 'eth0', 'nodad']);
  tell(t, 'back', {tookMs: await kernel.until(good, 20_000), aimMs: 1000});
  t.true(await pings(h1(), 'pod', h2.ipv6));
});

serial('a path that is narrower than it looks: the sender learns of it through the tunnel', async (t) => {
  const far = pods.get('far')!;
  const size = (bytes: number) => String(bytes - 28);
  const ping = (bytes: number) =>
    h1().run(h1ns(['ping', '-c', '1', '-W', '1', '-M', 'do', '-s', size(bytes), far.ipv4]), {mayFail: true});
  // The first packet teaches this host the path, the second the tunnel, the third the sender.
  for (let i = 0; i < 2; i++) t.not((await ping(1430)).code, 0);
  const {stdout, stderr} = await ping(1430);
  t.regex(stdout + stderr, /mtu ?= ?1350/);
  t.is((await ping(1350)).code, 0);
  // TCP finds out by itself: a message of many segments gets through.
  const witness = await traffic('far');
  await setTimeout(200);
  const report = await witness.report();
  t.is(report.tcp.answered, report.tcp.sent);
});

serial('weft overlay cleanup: the only thing that takes the network down', async (t) => {
  const {host} = rig.host('h3');
  const weft = (...args: string[]) =>
    host.run([`${pluginDir}/weft`, 'overlay', 'cleanup', ...args], {mayFail: true});
  const there = viewKernel(host);
  const before = await there.lines();
  const refused = await weft();
  t.is(refused.code, 1);
  t.regex(refused.stderr, /an agent runs here/);
  await agents.get('h3')!.kill('TERM');
  t.regex((await weft('--dry-run')).stdout, /would remove device flannel\.1/);
  t.deepEqual(await there.lines(), before);
  const done = await weft();
  t.is(done.code, 0, done.stderr);
  t.deepEqual(await there.lines(), []);
  t.notRegex((await host.run(['nft', 'list', 'tables'])).stdout, /weft-overlay/);
  t.is((await host.sh('ls /run/flannel /run/weft/overlay')).stdout.match(/subnet\.env|\.json/), null);
  t.regex((await weft()).stdout, /nothing of overlay networks/);
  // And from nothing to everything again.
  const agent = await rig.host('h3').startAgent(agentConfig('h3', {type: 'static', file: staticFile}));
  agents.set('h3', agent);
  await there.until(before, 10_000);
  there.close();
  t.true(await pings(h1(), 'pod', pods.get('h3')!.ipv4));
});

const h1ns = (argv: readonly string[]) => h1().inNetns('pod', argv);
