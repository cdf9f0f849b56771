import {makeHost} from './harness/host.ts';
import {assertFails, limit, limits, listIfbs, prepare} from './harness/bandwidth.ts';
import {testWith} from './harness/needs.ts';
import {callPlugin, tryPlugin} from './harness/plugin.ts';
import {assertNothingLeft, staysByDesign, takeSnapshot} from './harness/snapshot.ts';

const test = testWith('root');
const cniVersion = '1.1.0';
const megabit = 1_000_000;

const selections = [
  {},
  {shapedSubnets: ['10.0.0.0/8', '2001:db8::/33']},
  {unshapedSubnets: ['10.0.0.0/8', '::/0']},
];
for (const selection of selections)
  test(`ADD, CHECK, DEL leave nothing: ${JSON.stringify(selection)}`, async (t) => {
    const host = await makeHost(t);
    const before = await takeSnapshot(host);
    const pod = await prepare(host, 'pod', {...limits, ...selection});
    const result = await limit(host, pod);
    const last = result.interfaces?.at(-1);
    t.regex(last?.name ?? '', /^bwp[0-9a-f]{12}$/);
    t.deepEqual(result.interfaces?.slice(0, -1), pod.result.interfaces);
    const {stdout} = await host.run(['ip', '-j', '-d', 'link', 'show', last?.name ?? '']);
    const [link] = JSON.parse(stdout) as {address: string; mtu: number; ifalias: string; flags: string[]}[];
    t.is(link?.address, last?.mac);
    t.is(link?.mtu, 1500);
    t.true(link?.flags.includes('UP'));
    t.regex(link?.ifalias ?? '', /net: limited, if: eth0, id: pod$/);
    await callPlugin(host, {...pod.call, command: 'CHECK', prevResult: result});
    await callPlugin(host, {...pod.call, command: 'DEL', prevResult: result});
    await callPlugin(host, {...pod.call, command: 'DEL', prevResult: result});
    await callPlugin(host, {...pod, command: 'DEL', prevResult: pod.result});
    await assertNothingLeft(t, host, before, [...staysByDesign, /^mount nsfs /, /^file \/run\/netns\//]);
  });

test('the kernel shows the numbers that tc would set', async (t) => {
  const host = await makeHost(t);
  const pod = await prepare(host, 'pod', limits);
  const result = await limit(host, pod);
  const shown = async (link: string) => (await host.run(['tc', 'qdisc', 'show', 'dev', link])).stdout;
  t.regex(await shown(pod.port), /qdisc tbf 1: root refcnt \d+ rate 40Mbit burst 500000b lat 25ms/);
  t.regex(await shown(pod.port), /qdisc ingress ffff: parent ffff:fff1/);
  t.regex(
    await shown(result.interfaces?.at(-1)?.name ?? ''),
    /qdisc tbf 1: root refcnt \d+ rate 20Mbit burst 250000b lat 25ms/,
  );
  const {stdout} = await host.run(['tc', 'filter', 'show', 'dev', pod.port, 'parent', 'ffff:']);
  t.regex(stdout, /protocol all pref 1 u32/);
  t.regex(stdout, new RegExp(`Egress Redirect to device ${result.interfaces?.at(-1)?.name}\\) stolen`));
});

test('without limits the previous result is handed on and nothing is done', async (t) => {
  const host = await makeHost(t);
  const pod = await prepare(host, 'pod', {});
  const before = await takeSnapshot(host);
  const traced = await tryPlugin(host, {
    ...pod.call,
    command: 'ADD',
    under: ['strace', '-f', '-qq', '-e', 'trace=socket,setns', '-o', '/run/trace'],
  });
  t.deepEqual(traced.reply?.interfaces, pod.result.interfaces);
  t.deepEqual(traced.reply?.ips, pod.result.ips);
  t.notRegex(await host.read('/run/trace'), /AF_NETLINK|setns\(/);
  await callPlugin(host, {...pod.call, command: 'CHECK'});
  await callPlugin(host, {...pod.call, command: 'DEL'});
  await assertNothingLeft(t, host, before, [/^file \/run\/trace$/]);
});

test('limits of the runtime count where the configuration has none', async (t) => {
  const host = await makeHost(t);
  const runtimeConfig = {bandwidth: {ingressRate: 8 * megabit, ingressBurst: megabit}};
  const pod = await prepare(host, 'pod', {capabilities: {bandwidth: true}, runtimeConfig});
  const result = await limit(host, pod);
  t.deepEqual(result.interfaces, pod.result.interfaces);
  const {stdout} = await host.run(['tc', 'qdisc', 'show', 'dev', pod.port]);
  t.regex(stdout, /tbf 1: .*rate 8Mbit/);
  t.notRegex(stdout, /ingress/);
});

test('an ADD that is asked for twice changes nothing', async (t) => {
  const host = await makeHost(t);
  for (const selection of selections) {
    const pod = await prepare(host, `pod-${selections.indexOf(selection)}`, {...limits, ...selection});
    const first = await limit(host, pod);
    const again = await limit(host, pod);
    t.deepEqual(again, first);
    await callPlugin(host, {...pod.call, command: 'CHECK', prevResult: again});
  }
});

test('an ADD after a DEL that left the veth pair in place works', async (t) => {
  const host = await makeHost(t);
  const pod = await prepare(host, 'pod', limits);
  await limit(host, pod);
  await callPlugin(host, {...pod.call, command: 'DEL'});
  const result = await limit(host, pod);
  t.is((await tryPlugin(host, {...pod.call, command: 'CHECK', prevResult: result})).code, 0);
});

test('an ifb device that a killed ADD left is replaced', async (t) => {
  const host = await makeHost(t);
  const first = await prepare(host, 'pod', limits);
  const [name] = (await limit(host, first)).interfaces?.slice(-1).map((each) => each.name) ?? [];
  // The runtime removes the interface without a DEL of this plugin, and tries again.
  await callPlugin(host, {...first, command: 'DEL', prevResult: first.result});
  const port = await callPlugin(host, {...first, command: 'ADD'});
  const again = await callPlugin(host, {...first.call, command: 'ADD', prevResult: port});
  t.is(again.interfaces?.at(-1)?.name, name);
  await callPlugin(host, {...first.call, command: 'CHECK', prevResult: again});
});

test('two interfaces of one container in one network have a device each', async (t) => {
  const host = await makeHost(t);
  const one = await prepare(host, 'pod', limits);
  const second = {conf: one.conf, netns: one.netns, containerId: 'pod', ifName: 'eth1'};
  const prevResult = await callPlugin(host, {...second, command: 'ADD'});
  const two = {...one.call, ifName: 'eth1', prevResult};
  const results = [await limit(host, one), await callPlugin(host, {...two, command: 'ADD'})];
  const names = results.map(({interfaces}) => interfaces?.at(-1)?.name);
  t.not(names[0], names[1]);
  await callPlugin(host, {...one.call, command: 'CHECK', prevResult: results[0]});
  await callPlugin(host, {...two, command: 'CHECK', prevResult: results[1]});
  await callPlugin(host, {...one.call, command: 'DEL', prevResult: results[0]});
  await callPlugin(host, {...two, command: 'CHECK', prevResult: results[1]});
  await callPlugin(host, {...two, command: 'DEL', prevResult: results[1]});
  t.deepEqual(await listIfbs(host), []);
});

test('DEL finds the device without namespace, previous result and limits', async (t) => {
  const host = await makeHost(t);
  const pod = await prepare(host, 'pod', limits);
  await limit(host, pod);
  await host.removeNetns('pod');
  const conf = {cniVersion, name: 'limited', type: 'bandwidth', ingressRate: -1, egressBurst: 7};
  await callPlugin(host, {command: 'DEL', conf, containerId: 'pod'});
  t.deepEqual(await listIfbs(host), []);
});

test('GC removes the devices of containers that are gone, and no others', async (t) => {
  const host = await makeHost(t);
  const kept = await prepare(host, 'kept', limits);
  const gone = await prepare(host, 'gone', limits);
  const keptName = (await limit(host, kept)).interfaces?.at(-1)?.name ?? '';
  await limit(host, gone);
  const other = await prepare(host, 'other', {...limits, name: 'other'});
  const otherName = (await limit(host, other)).interfaces?.at(-1)?.name ?? '';
  await host.run(['ip', 'link', 'add', 'ifb-mine', 'type', 'ifb']);
  const {conf} = gone.call;
  await assertFails(t, host, {command: 'GC', conf}, /valid-attachments/);
  await callPlugin(host, {command: 'GC', conf, attachments: [{containerID: 'kept', ifname: 'eth0'}]});
  t.deepEqual(await listIfbs(host), [keptName, otherName, 'ifb-mine'].sort());
  await callPlugin(host, {...kept.call, command: 'CHECK'});
  await callPlugin(host, {command: 'GC', conf, attachments: []});
  t.deepEqual(await listIfbs(host), [otherName, 'ifb-mine']);
});

test('STATUS is content with this kernel and changes nothing', async (t) => {
  const host = await makeHost(t);
  const before = await takeSnapshot(host);
  await callPlugin(host, {command: 'STATUS', conf: {cniVersion, name: 'limited', type: 'bandwidth'}});
  t.regex((await host.run(['tc', 'qdisc', 'show', 'dev', 'lo'])).stdout, /^qdisc noqueue 0: root/);
  await assertNothingLeft(t, host, before, []);
});

test('a container without a veth pair, and one whose host end is not in the result, are refused', async (t) => {
  const host = await makeHost(t);
  const pod = await prepare(host, 'pod', limits);
  const {call, result} = pod;
  const inside = result.interfaces?.filter(({sandbox}) => sandbox);
  const add = (more: object) => ({...call, ...more, command: 'ADD' as const});
  await assertFails(t, host, add({prevResult: undefined}), /must be called as chained plugin/);
  await assertFails(
    t,
    host,
    add({prevResult: {...result, interfaces: [], ips: []}}),
    /no interfaces provided/,
  );
  await assertFails(
    t,
    host,
    add({prevResult: {...result, interfaces: inside, ips: []}}),
    /no veth peer of container interface found in host ns/,
  );
  await assertFails(t, host, add({ifName: 'eth9'}), /container interface eth9 has no veth peer/);
  await assertFails(t, host, add({ifName: 'lo'}), /container interface lo has no veth peer/);
  await assertFails(t, host, add({netns: '/run/netns/none'}), /failed to open netns "\/run\/netns\/none"/);
});

test('a burst below the size of a packet is a warning', async (t) => {
  const host = await makeHost(t);
  const pod = await prepare(host, 'pod', {ingressRate: megabit, ingressBurst: 8000});
  const {code, stderr} = await tryPlugin(host, {...pod.call, command: 'ADD'});
  t.is(code, 0);
  t.regex(stderr, /"ingressBurst" 8000 is less than a packet of "veth\w+" \(1514 bytes, 12112 bits\)/);
});
