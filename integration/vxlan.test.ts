import type {ExecutionContext} from 'ava';
import {attach, check, detach, listAddresses, pings, showLink} from './harness/attachment.ts';
import {makeHost, type TestHost} from './harness/host.ts';
import {testWith} from './harness/needs.ts';
import {callPlugin, tryPlugin, type PluginCall} from './harness/plugin.ts';
import {assertNothingLeft, staysByDesign, takeSnapshot} from './harness/snapshot.ts';

// The plugin with a subnet file of an agent, which is here whatever the test says.

const test = testWith('root');

const network = {
  cniVersion: '1.1.0',
  name: 'pods',
  type: 'vxlan',
  delegate: {hairpinMode: true, isDefaultGateway: true},
};
const subnetFile = '/run/flannel/subnet.env';
const dualStack = `FLANNEL_NETWORK=10.244.0.0/16
FLANNEL_SUBNET=10.244.7.1/24
FLANNEL_IPV6_NETWORK=fd00:244::/48
FLANNEL_IPV6_SUBNET=fd00:244:0:7::1/64
FLANNEL_MTU=1430
FLANNEL_IPMASQ=true
`;

const writeState = (host: TestHost, state: object) =>
  host.write(
    '/run/weft/overlay/pods.json',
    JSON.stringify({
      network: 'pods',
      ready: true,
      subnetFile,
      subnets: ['10.244.7.0/24', 'fd00:244:0:7::/64'],
      ...state,
    }),
  );

async function makeNode(t: ExecutionContext, file = dualStack): Promise<TestHost> {
  const host = await makeHost(t);
  await host.write(subnetFile, file);
  return host;
}

const statusOf = (host: TestHost, conf: PluginCall['conf'] = network) =>
  tryPlugin(host, {conf, command: 'STATUS'});

for (const type of ['vxlan', 'flannel'])
  test(`${type}: ADD, CHECK and DEL with what the agent says, and nothing is left`, async (t) => {
    const host = await makeNode(t);
    const before = await takeSnapshot(host);
    const conf = {...network, type};
    t.is((await statusOf(host, conf)).code, 0);
    const [one, two] = [await attach(host, 'one', conf), await attach(host, 'two', conf)];
    t.deepEqual(one.addresses, ['10.244.7.2', 'fd00:244:0:7::2']);
    t.deepEqual(await listAddresses(host, 'cni0'), ['10.244.7.1/24', 'fd00:244:0:7::1/64']);
    t.like(await showLink(host, 'eth0', 'one'), {mtu: 1430});
    t.like(await showLink(host, one.port), {
      master: 'cni0',
      linkinfo: {info_slave_data: {hairpin: true}},
    });
    t.deepEqual(one.result.routes, [
      {dst: '10.244.0.0/16'},
      {dst: 'fd00:244::/48'},
      {dst: '0.0.0.0/0', gw: '10.244.7.1'},
      {dst: '::/0', gw: 'fd00:244:0:7::1'},
    ]);
    for (const address of two.addresses) t.true(await pings(host, 'one', address), address);
    t.is((await check(host, one)).code, 0);
    t.is((await statusOf(host, conf)).code, 0);
    for (const each of [one, two, one]) await detach(host, each);
    for (const name of ['one', 'two']) await host.removeNetns(name);
    await assertNothingLeft(t, host, before, staysByDesign);
  });

test('DEL needs neither what was written down, nor the subnet file, nor the namespace', async (t) => {
  const host = await makeNode(t);
  const conf = {...network, delegate: {...network.delegate, ipMasq: true}};
  const before = await takeSnapshot(host);
  const pod = await attach(host, 'pod', conf);
  await host.sh('rm -r /var/lib/cni/flannel /run/flannel');
  await host.removeNetns('pod');
  const {result, netns: _, ...call} = pod;
  await callPlugin(host, {...call, command: 'DEL'});
  await host.write(subnetFile, dualStack);
  await assertNothingLeft(t, host, before, staysByDesign);
  await callPlugin(host, {...call, command: 'DEL', prevResult: result});
});

test('without a subnet file: the reason and what to do', async (t) => {
  const host = await makeHost(t);
  const netns = await host.addNetns('pod');
  const before = await takeSnapshot(host);
  const added = await tryPlugin(host, {conf: network, command: 'ADD', netns, containerId: 'pod'});
  t.like(added.reply, {code: 11, msg: `open ${subnetFile}: no such file or directory`});
  t.regex(added.reply?.details ?? '', /is flanneld, or weft agent, running/);
  t.like((await statusOf(host)).reply, {code: 50, msg: added.reply?.msg});
  await callPlugin(host, {conf: network, command: 'DEL', netns, containerId: 'pod'});
  await callPlugin(host, {conf: network, command: 'GC', attachments: []});
  await assertNothingLeft(t, host, before);
  await host.write(subnetFile, 'FLANNEL_MTU=1450\n');
  const broken = await tryPlugin(host, {conf: network, command: 'ADD', netns, containerId: 'pod'});
  t.like(broken.reply, {code: 7});
  t.regex(broken.reply?.msg ?? '', /^\/run\/flannel\/subnet\.env is missing FLANNEL_NETWORK, /);
  t.like((await statusOf(host)).reply, {code: 50});
});

test('while the agent is not ready nothing is connected, and STATUS says why', async (t) => {
  const host = await makeNode(t);
  const netns = await host.addNetns('pod');
  await writeState(host, {ready: false, reason: 'etcd does not answer'});
  const msg = 'the agent says that overlay network "pods" is not ready: etcd does not answer';
  t.like((await statusOf(host)).reply, {code: 50, msg});
  const call = {conf: network, netns, containerId: 'pod'};
  t.like((await tryPlugin(host, {...call, command: 'ADD'})).reply, {code: 11, msg});
  await writeState(host, {});
  t.is((await statusOf(host)).code, 0);
  const prevResult = await callPlugin(host, {...call, command: 'ADD'});
  await writeState(host, {ready: false, reason: 'conflict'});
  // What is connected stays so, and can be taken away.
  await callPlugin(host, {...call, command: 'DEL', prevResult});
});

test('a subnet file that is not what the agent says is not believed', async (t) => {
  const host = await makeNode(t);
  await writeState(host, {subnets: ['10.244.8.0/24']});
  const {reply} = await statusOf(host);
  t.like(reply, {
    code: 50,
    msg: '/run/flannel/subnet.env says that this host has 10.244.7.0/24 and fd00:244:0:7::/64, the agent says 10.244.8.0/24',
  });
});

test('a network of another name is known by its subnet file; forms have to agree', async (t) => {
  const host = await makeNode(t);
  await writeState(host, {ready: false, reason: 'why', form: 'routed'});
  t.like((await statusOf(host, {...network, name: 'cbr0'})).reply, {code: 50});
  t.is(
    (await statusOf(host, {...network, name: 'cbr0', subnetFile: '/run/flannel/../flannel/subnet.env'})).code,
    0,
  );
  t.like((await statusOf(host, {...network, name: 'cbr0', network: 'pods', subnetFile: '/x'})).reply, {
    code: 50,
  });
  await writeState(host, {form: 'routed'});
  t.regex((await statusOf(host, {...network, form: 'l2'})).reply?.msg ?? '', /"form" is "l2"/);
});

test('a host that got another subnet takes no containers until its bridge is gone', async (t) => {
  const host = await makeNode(t);
  const old = await attach(host, 'old', network);
  await host.write(subnetFile, dualStack.replaceAll('10.244.7.', '10.244.9.').replace(':7::', ':9::'));
  const {reply} = await statusOf(host);
  t.is(reply?.code, 50);
  const conflict =
    'this host has the subnet 10.244.9.0/24 and fd00:244:0:9::/64 now, but bridge "cni0" is of 10.244.7.0/24 and fd00:244:0:7::/64';
  t.is(reply?.msg, conflict);
  t.regex(reply?.details ?? '', /ip link del cni0/);
  const before = await takeSnapshot(host);
  const netns = await host.addNetns('new');
  const added = await tryPlugin(host, {conf: network, command: 'ADD', netns, containerId: 'new'});
  t.regex(
    added.reply?.msg ?? '',
    /^failed to delegate add \(this host has .*"cni0" already has an IP address/,
  );
  await host.removeNetns('new');
  await assertNothingLeft(t, host, before);
  const checked = await check(host, old);
  t.regex(
    checked.reply?.msg ?? '',
    /^this host has the subnet 10\.244\.9\.0\/24 .* now, the container is of .*10\.244\.7\.0/,
  );
  // With the configuration of its time: its address goes, though its subnet is not this host's any more.
  await detach(host, old);
  t.regex(
    (await host.sh('ls /var/lib/cni/networks/pods')).stdout,
    /^last_reserved_ip\.0\nlast_reserved_ip\.1\nlock\n$/,
  );
  await host.sh('ip link del cni0');
  t.is((await statusOf(host)).code, 0);
  t.deepEqual((await attach(host, 'again', network)).addresses, ['10.244.9.3', 'fd00:244:0:9::3']);
});

test('a second ADD of a container fails, and its first can still be removed', async (t) => {
  const host = await makeNode(t);
  const before = await takeSnapshot(host);
  const pod = await attach(host, 'pod', network);
  const {result: _, ...call} = pod;
  t.is((await tryPlugin(host, {...call, command: 'ADD'})).code, 1);
  t.is((await check(host, pod)).code, 0);
  await host.write(subnetFile, dualStack.replaceAll('7.1', '8.1'));
  await detach(host, pod);
  await host.write(subnetFile, dualStack);
  await host.removeNetns('pod');
  await assertNothingLeft(t, host, before);
});

test('two interfaces of one container do not mix, whichever goes first', async (t) => {
  const host = await makeNode(t);
  const before = await takeSnapshot(host);
  const netns = await host.addNetns('pod');
  const other = {...network, name: 'other', delegate: {bridge: 'cni1'}, ipam: {dataDir: '/run/leases'}};
  await host.write('/run/b.env', dualStack.replaceAll('244', '245'));
  const calls = [
    {conf: network, netns, containerId: 'pod', ifName: 'eth0'},
    {conf: {...other, subnetFile: '/run/b.env'}, netns, containerId: 'pod', ifName: 'eth1'},
  ];
  const results = [];
  for (const call of calls) results.push(await callPlugin(host, {...call, command: 'ADD'}));
  for (const [i, call] of calls.entries())
    await callPlugin(host, {...call, command: 'CHECK', prevResult: results[i]});
  await callPlugin(host, {...calls[0]!, command: 'DEL'});
  await callPlugin(host, {...calls[1]!, command: 'CHECK', prevResult: results[1]});
  await callPlugin(host, {...calls[1]!, command: 'DEL'});
  await host.sh('rm /run/b.env');
  await host.removeNetns('pod');
  await assertNothingLeft(t, host, before);
});

test('GC removes containers that are gone with all that was written down of them', async (t) => {
  const host = await makeNode(t);
  const before = await takeSnapshot(host);
  await host.addNetns('kept');
  const call = {conf: network, netns: '/run/netns/kept', containerId: 'kept'};
  const prevResult = await callPlugin(host, {...call, command: 'ADD'});
  const after = await takeSnapshot(host);
  for (const name of ['a', 'b']) {
    await attach(host, name, network);
    await host.removeNetns(name);
  }
  await host.write('/var/lib/cni/flannel/of-flannel', JSON.stringify({name: 'pods', type: 'bridge'}));
  const kept = [{containerID: 'kept', ifname: 'eth0'}];
  await callPlugin(host, {conf: network, command: 'GC', attachments: kept});
  await assertNothingLeft(t, host, after);
  await callPlugin(host, {...call, command: 'CHECK', prevResult});
  await callPlugin(host, {conf: network, command: 'GC', attachments: []});
  await host.removeNetns('kept');
  await assertNothingLeft(t, host, before);
  t.like((await tryPlugin(host, {conf: network, command: 'GC'})).reply, {code: 7});
});

test('plugins that would delegate to each other for ever are refused', async (t) => {
  const host = await makeNode(t);
  const netns = await host.addNetns('pod');
  for (const [conf, verbs] of [
    [{...network, delegate: {type: 'flannel'}}, ['ADD', 'DEL', 'STATUS']],
    [{...network, ipam: {type: 'vxlan'}}, ['ADD', 'STATUS']],
  ] as const)
    for (const command of verbs) {
      const {reply, code} = await tryPlugin(host, {conf, command, netns, containerId: 'pod'});
      t.is(code, 1, command);
      t.like(reply, {code: 7}, command);
    }
  // There can be nothing to remove.
  const conf = {...network, ipam: {type: 'vxlan'}};
  await callPlugin(host, {conf, command: 'DEL', netns, containerId: 'pod'});
  await callPlugin(host, {conf, command: 'GC', attachments: []});
});
