import {setTimeout} from 'node:timers/promises';
import {eventuallyPings, pings} from './harness/attachment.ts';
import type {Etcd} from './harness/etcd.ts';
import {testWith} from './harness/needs.ts';
import type {RunningAgent} from './harness/overlay-agent.ts';
import {
  addPod,
  agentConfig,
  podConf,
  putNetwork,
  removePod,
  startStore,
  storeMembership,
} from './harness/overlay-cluster.ts';
import {viewKernel} from './harness/overlay-kernel.ts';
import {startRig, type OverlayRig} from './harness/overlay-rig.ts';

/* Several networks on the same hosts: two routed ones and a segment, each with a VNI of its own. */

const test = testWith('root');
const serial = test.serial;

let rig: OverlayRig;
let etcd: Etcd;
let agents: Map<string, RunningAgent>;
const log: string[] = [];

const network = (name: string, form: string) => ({
  name,
  form,
  membership: storeMembership(etcd, {prefix: `/weft/${name}`}),
  underlay: {interface: 'eth0'},
  subnetFile: `/run/flannel/${name}.env`,
});

const confOf = (name: string, bridge?: string) => ({
  ...podConf,
  name,
  subnetFile: `/run/flannel/${name}.env`,
  delegate: {...podConf.delegate, ...(bridge !== undefined && {bridge})},
});

test.before(async () => {
  rig = await startRig({hosts: 2, log: (line) => log.push(line)});
  etcd = await startStore(rig);
  const backend = (VNI: number) => ({Backend: {Type: 'vxlan', VNI, Port: 8472}});
  await putNetwork(etcd, {...backend(1)}, '/weft/red');
  await putNetwork(
    etcd,
    {...backend(2), Network: '10.245.0.0/16', IPv6Network: 'fd00:245::/48'},
    '/weft/blue',
  );
  await putNetwork(
    etcd,
    {...backend(3), Network: '10.246.0.0/16', SubnetLen: 24, IPv6Network: 'fd00:246::/64', IPv6SubnetLen: 80},
    '/weft/wire',
  );
  const config = (name: string) => {
    const {overlay, ...rest} = agentConfig(name, {});
    const networks = [network('red', 'routed'), network('blue', 'routed'), network('wire', 'l2')];
    return {...rest, overlay: {...overlay, networks}};
  };
  agents = new Map(
    await Promise.all(
      rig.hosts.map(async (host) => [host.name, await host.startAgent(config(host.name))] as const),
    ),
  );
});

test.after.always(async () => {
  await rig?.close();
  await etcd?.close();
});

test.afterEach.always((t) => {
  if (!t.passed) for (const line of log.slice(-80)) t.log(line);
  log.length = 0;
});

serial('two routed networks: each reaches its own, and neither the other', async (t) => {
  const [h1, h2] = rig.hosts as [(typeof rig.hosts)[0], (typeof rig.hosts)[0]];
  const [red1, red2, blue1, blue2] = [
    await addPod(h1, 'red', confOf('red', 'cni-red')),
    await addPod(h2, 'red', confOf('red', 'cni-red')),
    await addPod(h1, 'blue', confOf('blue', 'cni-blue')),
    await addPod(h2, 'blue', confOf('blue', 'cni-blue')),
  ];
  t.true(red1.ipv4.startsWith('10.244.') && blue1.ipv4.startsWith('10.245.'));
  for (const [from, to] of [
    [red1, red2],
    [blue1, blue2],
  ] as const)
    for (const address of [to.ipv4, to.ipv6]) await eventuallyPings(from.host.host, from.name, address);
  for (const [from, to] of [
    [red1, blue1],
    [red1, blue2],
    [blue1, red2],
  ] as const)
    await Promise.all(
      [to.ipv4, to.ipv6].map(async (address) =>
        t.false(await pings(from.host.host, from.name, address), `${from.ipv4} reaches ${address}`),
      ),
    );
});

serial('a segment: containers of all hosts in one subnet, known to every host without asking', async (t) => {
  const [h1, h2] = rig.hosts as [(typeof rig.hosts)[0], (typeof rig.hosts)[0]];
  const one = await addPod(h1, 'one', confOf('wire'));
  const two = await addPod(h2, 'two', confOf('wire'));
  t.true(one.ipv4.startsWith('10.246.') && two.ipv4.startsWith('10.246.'));
  t.true(
    one.result.ips!.every(({address}) => /\/(16|64)$/.test(address)),
    JSON.stringify(one.result.ips),
  );
  for (const address of [two.ipv4, two.ipv6]) await eventuallyPings(h1.host, 'one', address);
  for (const address of [one.ipv4, one.ipv6]) await eventuallyPings(h2.host, 'two', address);
  const kernel = viewKernel(h1.host);
  const isOfTwo = (line: string) =>
    line.startsWith(`neigh flannel.3 ${two.ipv4} `) || line.startsWith(`neigh flannel.3 ${two.ipv6} `);
  t.is((await kernel.lines()).filter(isOfTwo).length, 2);

  // Nothing is asked across hosts: what goes through the tunnel has one receiver each.
  const [sent] = JSON.parse((await h1.host.run(['ip', '-j', '-s', 'link', 'show', 'flannel.3'])).stdout) as [
    {stats64: {tx: {packets: number}}},
  ];
  await h1.host.run(h1.host.inNetns('one', ['ping', '-c', '1', '-W', '1', '10.246.200.200']), {
    mayFail: true,
  });
  const [after] = JSON.parse((await h1.host.run(['ip', '-j', '-s', 'link', 'show', 'flannel.3'])).stdout) as [
    {stats64: {tx: {packets: number}}},
  ];
  t.is(
    after.stats64.tx.packets,
    sent.stats64.tx.packets,
    'a question for an address that nobody has stays here',
  );

  await removePod(two);
  const tookMs = await kernel.untilTrue(
    'the container to be forgotten',
    (lines) => !lines.some(isOfTwo),
    10_000,
  );
  t.log(`forgotten by the other host: ${tookMs.toFixed(0)} ms`);
  // The next one has another address, and is known as quickly.
  const three = await addPod(h2, 'three', confOf('wire'));
  const known = await kernel.untilTrue(
    'the new container',
    (lines) => lines.some((line) => line.startsWith(`neigh flannel.3 ${three.ipv4} `)),
    10_000,
  );
  t.log(`a new one known to the other host: ${known.toFixed(0)} ms after ADD`);
  await eventuallyPings(h1.host, 'one', three.ipv4);
  // What the bridge learns of the same containers is the bridge's business.
  await setTimeout(1000);
  const passes = () => agents.get('h1')!.metric('weft_overlay_passes_total', {network: 'wire'});
  const before = await passes();
  const {mac} = three.result.interfaces!.find(({name, sandbox}) => name === 'eth0' && sandbox)!;
  await h1.host.run(['bridge', 'fdb', 'del', mac!, 'dev', 'flannel.3', 'master']);
  await eventuallyPings(h1.host, 'one', three.ipv4);
  t.regex(
    (await h1.host.run(['bridge', 'fdb', 'show', 'brport', 'flannel.3'])).stdout,
    /master br-vx3(?! permanent)/,
  );
  await setTimeout(500);
  t.is(await passes(), before);
  kernel.close();
});

serial('a restart of the agents changes nothing, and a network more is taken by SIGHUP', async (t) => {
  const {host} = rig.host('h1');
  const kernel = viewKernel(host);
  const before = await kernel.lines();
  const changes = await kernel.countChanges();
  await agents.get('h1')!.kill('KILL');
  const config = JSON.parse(await host.read('/etc/weft/agent.json')) as {overlay: {networks: unknown[]}};
  const agent = await rig.host('h1').startAgent(config);
  await agent.ask('POST', '/reconcile');
  t.deepEqual(changes(), []);
  t.deepEqual(await kernel.lines(), before);
  await putNetwork(
    etcd,
    {Network: '10.247.0.0/16', EnableIPv6: false, Backend: {Type: 'vxlan', VNI: 4}},
    '/weft/green',
  );
  config.overlay.networks.push(network('green', 'routed'));
  await host.write('/etc/weft/agent.json', JSON.stringify(config));
  await agent.kill('HUP');
  await kernel.untilTrue(
    'its device',
    (lines) => lines.some((line) => line.startsWith('link flannel.4 ')),
    20_000,
  );
  await agent.untilReady();
  t.deepEqual(
    (await agent.status()).networks.map(({name, ready}) => [name, ready]),
    [
      ['red', true],
      ['blue', true],
      ['wire', true],
      ['green', true],
    ],
  );
  kernel.close();
});
