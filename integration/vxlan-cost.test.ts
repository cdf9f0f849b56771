import type {ExecutionContext} from 'ava';
import {attach} from './harness/attachment.ts';
import type {TestHost} from './harness/host.ts';
import {testWith} from './harness/needs.ts';
import {makeRig, type OverlayRig} from './harness/overlay-rig.ts';
import {callPlugin} from './harness/plugin.ts';
import {tracing} from './harness/strace.ts';

const test = testWith('root');
const trace = '/run/trace';
const hostsFile = '/run/hosts.json';

/** What a call asks of the kernel, and of other processes. */
interface Cost {
  readonly datagrams: number;
  readonly processes: number;
}

async function costOf(host: TestHost, call: Parameters<typeof callPlugin>[1]): Promise<Cost> {
  const what = 'trace=execve,sendto,sendmsg';
  const under = tracing(trace).map((word) => (word.startsWith('trace=') ? what : word));
  await callPlugin(host, {...call, under, options: {log: () => {}}});
  const lines = (await host.read(trace)).split('\n');
  return {
    datagrams: lines.filter((line) => /\bsend(to|msg)\(\d+<(socket|NETLINK)/.test(line)).length,
    processes: lines.filter((line) => /\bexecve\(.*= 0$/.test(line)).length,
  };
}

type Costs = Record<'ADD' | 'DEL', Cost>;

/** ADD and DEL of one more container. */
async function costs(host: TestHost, conf: Record<string, unknown>): Promise<Costs> {
  const netns = '/run/netns/one';
  // The same container each time, which looks at the same sample.
  const call = {conf, netns, containerId: 'one'};
  const ADD = await costOf(host, {...call, command: 'ADD'});
  await callPlugin(host, {...call, command: 'DEL'});
  const prevResult = await callPlugin(host, {...call, command: 'ADD'});
  const DEL = await costOf(host, {...call, command: 'DEL', prevResult});
  return {ADD, DEL};
}

/** The same, but for one question: the kernel may have removed a link before DEL asks whether it is gone. */
function assertAlike(t: ExecutionContext, one: Costs, other: Costs): void {
  for (const verb of ['ADD', 'DEL'] as const) {
    const said = `${verb}: ${JSON.stringify([one[verb], other[verb]])}`;
    t.is(one[verb].processes, other[verb].processes, said);
    t.true(Math.abs(one[verb].datagrams - other[verb].datagrams) <= 1, said);
  }
}

/** The two hosts of the rig, and others that nobody ever hears of. */
function hostsOf(rig: OverlayRig, more: number): string {
  const real = rig.hosts.map(({name, ipv4}, i) => ({
    name,
    publicIP: ipv4,
    subnets: [`10.200.${i}.0/24`],
  }));
  const others = Array.from({length: more}, (_, i) => ({
    name: `other-${i}`,
    publicIP: `192.168.${100 + (i >> 8)}.${i & 255}`,
    subnets: [`10.${201 + (i >> 8)}.${i & 255}.0/24`],
  }));
  return JSON.stringify({network: '10.0.0.0/8', nodes: [...real, ...others]});
}

test('a call costs the same with one peer as with a thousand, and starts no process', async (t) => {
  const rig = await makeRig(t, {hosts: 2});
  const {host} = rig.host('h1');
  await host.addNetns('one');
  const conf = {cniVersion: '1.1.0', name: 'pods', type: 'vxlan', static: hostsFile};
  await host.write(hostsFile, hostsOf(rig, 0));
  await attach(host, 'first', conf);
  const few = await costs(host, conf);
  await host.write(hostsFile, hostsOf(rig, 1000));
  const started = performance.now();
  await attach(host, 'second', conf);
  const {stdout} = await host.sh(
    'ip route show proto 119 | wc -l; bridge fdb show dev flannel.1 | wc -l; ip neigh show nud permanent | wc -l',
  );
  t.deepEqual(stdout.trim().split('\n').map(Number), [1001, 1001, 1001]);
  t.log(`an ADD that programs 1000 peers: ${(performance.now() - started).toFixed(0)} ms`);
  const many = await costs(host, conf);
  t.log(few, many);
  assertAlike(t, many, few);
  t.is(many.ADD.processes, 1);
  t.is(many.DEL.processes, 1);
  t.true(many.ADD.datagrams <= 24);
});

test('by a subnet file a call asks no more of the kernel than the delegate does', async (t) => {
  const rig = await makeRig(t, {hosts: 1});
  const {host} = rig.host('h1');
  await host.addNetns('one');
  await host.write(
    '/run/flannel/subnet.env',
    'FLANNEL_NETWORK=10.244.0.0/16\nFLANNEL_SUBNET=10.244.7.1/24\nFLANNEL_MTU=1450\nFLANNEL_IPMASQ=true\n',
  );
  const conf = {cniVersion: '1.1.0', name: 'pods', type: 'flannel'};
  await attach(host, 'first', conf);
  const ours = await costs(host, conf);
  const bridge = await costs(host, {
    ...conf,
    type: 'bridge',
    isGateway: true,
    mtu: 1450,
    ipam: {type: 'host-local', ranges: [[{subnet: '10.244.7.0/24'}]], routes: [{dst: '10.244.0.0/16'}]},
  });
  assertAlike(t, ours, bridge);
});
