import {listIfbs} from './harness/bandwidth.ts';
import {addChain, configurationOf, delChain} from './harness/chain.ts';
import {startContainerd} from './harness/containerd.ts';
import {ensurePackages} from './harness/debian.ts';
import {makeHost, type TestHost} from './harness/host.ts';
import {testWith} from './harness/needs.ts';
import {addOutside} from './harness/outside.ts';
import {pluginDir} from './harness/paths.ts';
import {showLink} from './harness/attachment.ts';
import {callPlugin, referenceDir} from './harness/plugin.ts';
import {chainStays} from './harness/podman-chain.ts';
import {ask, serve, type Question} from './harness/ports.ts';
import {assertNothingLeft, findLeft, takeSnapshot} from './harness/snapshot.ts';

const test = testWith('root', 'apt');

/** Kubernetes' usual chain, of a node that was given both families. */
const conflist = {
  cniVersion: '1.0.0',
  name: 'kubernetes',
  plugins: [
    {
      type: 'bridge',
      bridge: 'cni0',
      isDefaultGateway: true,
      ipMasq: true,
      hairpinMode: true,
      ipam: {type: 'host-local', ranges: [[{subnet: '10.244.0.0/24'}], [{subnet: 'fd00:244::/64'}]]},
    },
    {type: 'portmap', capabilities: {portMappings: true}},
    {type: 'bandwidth', capabilities: {bandwidth: true}},
  ],
};

/** What containerd itself keeps while it runs: its state, its sockets. */
const containerdsOwn = [
  ...chainStays,
  /^file \/run\/(containerd|pause|xtables.lock)/,
  /^mount \S+ \/run\/netns tmpfs /,
  /^process \S*containerd /,
];

test.before(async () => {
  await ensurePackages('containerd');
  await ensurePackages('reference');
});

/** Rates of all shapers, in bits per second. */
async function listRates(host: TestHost): Promise<number[]> {
  const {stdout} = await host.run(['tc', '-j', 'qdisc', 'show']);
  const shown = JSON.parse(stdout) as {kind: string; options: {rate?: number}}[];
  return shown
    .flatMap(({kind, options}) => (kind === 'tbf' ? [options.rate! * 8] : []))
    .sort((a, b) => a - b);
}

test("Kubernetes' usual chain through containerd: a pod's host ports and its limits come and go with it", async (t) => {
  t.timeout(300_000);
  const host = await makeHost(t);
  const outside = await addOutside(host);
  await host.write('/etc/cni/net.d/10-kubernetes.conflist', JSON.stringify(conflist));
  const {cri} = await startContainerd(host, pluginDir);
  t.teardown(() => cri.close());
  t.deepEqual(await cri.complaints(), []);
  const before = await takeSnapshot(host);
  const pod = {
    name: 'web',
    cgroup: host.cgroup,
    ports: [
      {protocol: 'TCP', container_port: 80, host_port: 8080},
      {protocol: 'UDP', container_port: 53, host_port: 5353},
    ],
    annotations: {'kubernetes.io/ingress-bandwidth': '40M', 'kubernetes.io/egress-bandwidth': '20M'},
  } as const;
  const id = await cri.runSandbox(pod);
  const netns = (await host.run(['ls', '/run/netns'])).stdout.match(/cni-\S+/)?.[0] ?? '';
  await serve(host, netns, 'web', 80, 53);
  const both = (address: string): Question[] => [
    {address, port: 8080},
    {address, port: 5353, protocol: 'udp'},
  ];
  for (const [index, address] of outside.hostAddresses.entries()) {
    const answer = `web sees ${outside.addresses[index]}`;
    t.deepEqual(await ask(host, 'outside', ...both(address)), [answer, answer]);
    const own = `web sees ${address}`;
    t.deepEqual(await ask(host, undefined, ...both(address)), [own, own]);
    const gateway = index === 0 ? 'web sees 10.244.0.1' : 'web sees fd00:244::1';
    t.deepEqual(await ask(host, netns, ...both(address)), [gateway, gateway]);
  }
  const local = 'web sees 10.244.0.1';
  t.deepEqual(await ask(host, undefined, ...both('127.0.0.1')), [local, local]);
  t.deepEqual(await listRates(host), [20_000_000, 40_000_000]);
  t.is((await listIfbs(host)).length, 1);
  const error = await t.throwsAsync(cri.runSandbox({...pod, name: 'second'}));
  t.regex(error.message, /host port 8080\/tcp is already mapped to container/);
  await cri.stopSandbox(id);
  await cri.removeSandbox(id);
  t.deepEqual(await ask(host, 'outside', ...both(outside.hostAddresses[0])), [
    'ECONNREFUSED',
    'ECONNREFUSED',
  ]);
  await assertNothingLeft(t, host, before, containerdsOwn);
});

const capabilityArgs = {
  portMappings: [{hostPort: 8080, containerPort: 80, protocol: 'tcp'}],
  bandwidth: {
    ingressRate: 10_000_000,
    ingressBurst: 1_000_000,
    egressRate: 5_000_000,
    egressBurst: 500_000,
  },
};

/**
 * As flannel has the bridge called: without masquerading, which flanneld does itself, with the MTU of its tunnel and a route
 * to the pods of the other nodes.
 */
const ofFlannel = {
  cniVersion: '1.1.0',
  name: 'cbr0',
  plugins: [
    {
      type: 'bridge',
      mtu: 1450,
      hairpinMode: true,
      isGateway: true,
      isDefaultGateway: true,
      ipMasq: false,
      ipam: {
        type: 'host-local',
        ranges: [[{subnet: '10.244.1.0/24'}], [{subnet: 'fd00:244:1::/64'}]],
        routes: [{dst: '10.244.0.0/16'}, {dst: 'fd00:244::/32'}],
      },
    },
    {type: 'portmap', capabilities: {portMappings: true}},
    {type: 'bandwidth', capabilities: {bandwidth: true}},
  ],
};

test('behind the bridge that flannel delegates to, ports and limits come with a pod, and go with it, or by GC', async (t) => {
  t.timeout(300_000);
  const host = await makeHost(t);
  const outside = await addOutside(host);
  const before = await takeSnapshot(host);
  const callOf = async (name: string, hostPort: number) => ({
    conflist: ofFlannel,
    containerId: name,
    netns: await host.addNetns(name),
    capabilityArgs: {
      ...capabilityArgs,
      portMappings: [
        {hostPort, containerPort: 80, protocol: 'tcp'},
        {hostPort, containerPort: 53, protocol: 'udp', hostIP: outside.hostAddresses[0]},
      ],
    },
  });
  const kept = await callOf('kept', 8080);
  const stale = await callOf('stale', 8081);
  const gone = await callOf('gone', 8082);
  const keptResult = await addChain(host, kept);
  await addChain(host, stale);
  const goneResult = await addChain(host, gone);
  t.is((await listIfbs(host)).length, 3);
  const {stdout: routes} = await host.run(host.inNetns('kept', ['ip', 'route']));
  t.regex(routes, /10\.244\.0\.0\/16 via 10\.244\.1\.1/);
  t.is((await showLink(host, 'eth0', 'kept')).mtu, 1450);
  for (const name of ['kept', 'stale']) await serve(host, name, name, 80, 53);
  const [v4, v6] = outside.hostAddresses;
  const askFor = (port: number) =>
    ask(host, 'outside', {address: v4, port}, {address: v6, port}, {address: v4, port, protocol: 'udp'});
  const answers = (name: string) => [
    `${name} sees 192.0.2.2`,
    `${name} sees 2001:db8:2::2`,
    `${name} sees 192.0.2.2`,
  ];
  t.deepEqual(await askFor(8080), answers('kept'));
  t.deepEqual(await askFor(8081), answers('stale'));
  await delChain(host, gone, goneResult);
  t.is((await listIfbs(host)).length, 2);
  // The node went down with it: neither namespace nor result are known any more.
  await host.removeNetns('stale');
  for (const plugin of ofFlannel.plugins)
    await callPlugin(host, {
      command: 'GC',
      conf: configurationOf(ofFlannel, plugin),
      attachments: [{containerID: 'kept', ifname: 'eth0'}],
    });
  t.is((await listIfbs(host)).length, 1);
  t.deepEqual(await listRates(host), [5_000_000, 10_000_000]);
  t.deepEqual(await askFor(8080), answers('kept'));
  t.deepEqual(new Set(await askFor(8081)), new Set(['ECONNREFUSED']));
  for (const plugin of ofFlannel.plugins) {
    const conf = configurationOf(ofFlannel, plugin, kept.capabilityArgs);
    const call = {conf, containerId: 'kept', netns: kept.netns, prevResult: keptResult};
    await callPlugin(host, {...call, command: 'CHECK'});
  }
  await delChain(host, kept, keptResult);
  for (const name of ['kept', 'gone']) await host.removeNetns(name);
  await assertNothingLeft(t, host, before, chainStays);
});

const swaps = [...chainStays, /^file \/run\/xtables.lock$/];

test("of what the reference's chain made for a pod, ours leaves nothing", async (t) => {
  t.timeout(300_000);
  const host = await makeHost(t);
  const call = {conflist, containerId: 'pod', netns: await host.addNetns('pod'), capabilityArgs};
  const before = await takeSnapshot(host);
  const result = await addChain(host, {...call, dir: referenceDir()});
  t.is((await listIfbs(host)).length, 1);
  await delChain(host, call, result);
  await delChain(host, call, result);
  // Rules that lead to the chains which all of the reference's containers share.
  const shared = /^nft rule \{"family":"ip6?","table":"nat",(?!.*(CNI-[DS]N-|CNI-[0-9a-f]{10}))/;
  await assertNothingLeft(t, host, before, [...swaps, shared]);
  t.notRegex((await host.run(['nft', 'list', 'chains'])).stdout, /CNI-(DN-|SN-)?[0-9a-f]{10}/);
});

test("of what our chain made for a pod, the reference's removes links and addresses, and our GC the rest", async (t) => {
  t.timeout(300_000);
  const host = await makeHost(t);
  const call = {conflist, containerId: 'pod', netns: await host.addNetns('pod'), capabilityArgs};
  const before = await takeSnapshot(host);
  const result = await addChain(host, call);
  // 1.1.1 reports that its own masquerade is not there, after it removed the rest.
  const theirs = {...call, dir: referenceDir()};
  await t.throwsAsync(delChain(host, theirs, result), {message: /iptables/});
  const left = await findLeft(host, before, swaps);
  t.deepEqual(
    left.filter((line) => !/^nft (set|map) inet weft \S+ element /.test(line)),
    [],
  );
  t.true(left.length > 0);
  for (const plugin of conflist.plugins) {
    const conf = {...configurationOf(conflist, plugin), cniVersion: '1.1.0'};
    await callPlugin(host, {command: 'GC', conf, attachments: []});
  }
  await assertNothingLeft(t, host, before, swaps);
});
