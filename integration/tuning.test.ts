import type {ExecutionContext} from 'ava';
import {showIp} from './harness/attachment.ts';
import {ensurePackages} from './harness/debian.ts';
import {makeHost, type TestHost} from './harness/host.ts';
import {testWith} from './harness/needs.ts';
import {callPlugin, referenceDir, tryPlugin, type PluginCall, type Reply} from './harness/plugin.ts';

const test = testWith('root', 'apt');

test.before(async () => {
  await ensurePackages('reference');
});

const original = '02:00:00:00:00:01';
const stateFile = '/run/cni/tuning/one_eth0.json';
const attributes = {
  mac: '02:00:00:00:00:99',
  mtu: 1400,
  promisc: true,
  allmulti: true,
  txQLen: 500,
};
const network = {
  cniVersion: '1.0.0',
  name: 'tuned',
  type: 'tuning',
  sysctl: {'net.ipv4.conf.IFNAME.arp_filter': '1', 'net.ipv4.ip_local_port_range': '2000 3000'},
  ...attributes,
};

/** A container with a link that some plugin before us made. */
async function makeContainer(t: ExecutionContext, conf: PluginCall['conf'] = network) {
  const host = await makeHost(t);
  const netns = await host.addNetns('pod');
  const link = `eth0 address ${original} mtu 1500 txqueuelen 1000`;
  await host.sh(`ip -n pod link add ${link} type veth peer name peer0`);
  const previous = {
    cniVersion: '1.0.0',
    interfaces: [
      {name: 'peer0', mac: '02:00:00:00:00:77'},
      {name: 'eth0', mac: original, sandbox: netns},
    ],
    ips: [{address: '10.1.0.7/24', interface: 1}],
  };
  return {host, previous, call: {conf, netns, containerId: 'one'}};
}

interface Shown {
  readonly address: string;
  readonly mtu: number;
  readonly flags: readonly string[];
  readonly txqlen: number;
}

async function attributesOf(host: TestHost): Promise<typeof attributes> {
  const [link] = await showIp<Shown>(host, ['link', 'show', 'dev', 'eth0'], 'pod');
  const {address, mtu, flags, txqlen} = link!;
  const [promisc, allmulti] = [flags.includes('PROMISC'), flags.includes('ALLMULTI')];
  return {mac: address, mtu, promisc, allmulti, txQLen: txqlen};
}

async function sysctl(host: TestHost, key: string): Promise<string> {
  const argv = ['cat', `/proc/sys/${key}`];
  return (await host.run(host.inNetns('pod', argv))).stdout.trim();
}

const untouched = {mac: original, mtu: 1500, promisc: false, allmulti: false, txQLen: 1000};
const arpFilter = 'net/ipv4/conf/eth0/arp_filter';
const hasState = async (host: TestHost, file = stateFile) =>
  (await host.run(['test', '-e', file], {mayFail: true})).code === 0;

test('ADD sets everything and reports the address, CHECK agrees, DEL puts back the attributes', async (t) => {
  const {host, call, previous} = await makeContainer(t);
  const result = await callPlugin(host, {...call, command: 'ADD', prevResult: previous});
  const [peer, own] = previous.interfaces;
  t.deepEqual(result, {...previous, interfaces: [peer, {...own, mac: attributes.mac}]} as never);
  t.deepEqual(await attributesOf(host), attributes);
  t.is(await sysctl(host, arpFilter), '1');
  t.is(await sysctl(host, 'net/ipv4/ip_local_port_range'), '2000\t3000');
  await callPlugin(host, {...call, command: 'CHECK', prevResult: result});
  await callPlugin(host, {...call, command: 'DEL', prevResult: result});
  t.deepEqual(await attributesOf(host), untouched);
  t.false(await hasState(host));
  // As with the reference, sysctls stay: they go with the namespace.
  t.is(await sysctl(host, arpFilter), '1');
  await callPlugin(host, {...call, command: 'DEL', prevResult: result});
});

test('CHECK names everything that somebody changed', async (t) => {
  const {host, call, previous} = await makeContainer(t);
  const prevResult = await callPlugin(host, {...call, command: 'ADD', prevResult: previous});
  await host.sh(
    `nsenter --net=${call.netns} sh -ec '
      echo 0 > /proc/sys/${arpFilter}
      ip link set eth0 address ${original} mtu 1300 promisc off allmulticast off txqueuelen 7'`,
  );
  const {code, reply} = await tryPlugin(host, {...call, command: 'CHECK', prevResult});
  t.is(code, 1);
  for (const expected of [
    `configured value of /proc/sys/${arpFilter} is 1, current value is 0`,
    `configured Ethernet of eth0 is ${attributes.mac}, current value is ${original}`,
    'configured MTU of eth0 is 1400, current value is 1300',
    'link eth0 configured promisc is true, current value is 0',
    'configured all-multicast mode of eth0 is true, current value is false',
    'configured Transmit Queue Length of eth0 is 500, current value is 7',
  ])
    t.true(reply?.msg?.includes(`Error: Tuning ${expected}`), reply?.msg);
});

test('CHECK without a promisc in the configuration wants it off', async (t) => {
  const {host, call, previous} = await makeContainer(t, {...network, promisc: false});
  const prevResult = await callPlugin(host, {...call, command: 'ADD', prevResult: previous});
  await host.run(host.inNetns('pod', ['ip', 'link', 'set', 'eth0', 'promisc', 'on']));
  const {reply} = await tryPlugin(host, {...call, command: 'CHECK', prevResult});
  t.is(reply?.msg, 'Error: Tuning link eth0 configured promisc is false, current value is 1');
});

for (const [what, change, message] of [
  ['an MTU the kernel refuses', {mtu: 70_000}, /^failed to tune "eth0": .*mtu/],
  [
    'a sysctl that is not there',
    {sysctl: {...network.sysctl, 'net.ipv4.nonsense': '1'}},
    /^open \/proc\/sys\/net\/ipv4\/nonsense: no such file or directory$/,
  ],
  [
    'a value the kernel refuses',
    {sysctl: {...network.sysctl, 'net.ipv4.ip_forward': 'x'}},
    /^write \/proc\/sys\/net\/ipv4\/ip_forward: invalid argument$/,
  ],
  ['a directory that is none', {dataDir: '/dev/null'}, /^cannot write \/dev\/null\/one_eth0\.json: /],
] as const)
  test(`an ADD that fails at ${what} leaves everything as it was`, async (t) => {
    const {host, call, previous} = await makeContainer(t, {...network, ...change});
    const ports = await sysctl(host, 'net/ipv4/ip_local_port_range');
    const {code, reply} = await tryPlugin(host, {...call, command: 'ADD', prevResult: previous});
    t.is(code, 1);
    t.regex(reply?.msg ?? '', message);
    t.deepEqual(await attributesOf(host), untouched);
    t.is(await sysctl(host, arpFilter), '0');
    t.is(await sysctl(host, 'net/ipv4/ip_local_port_range'), ports);
    t.false(await hasState(host));
  });

test('an interface that is not there, and no previous result', async (t) => {
  const {host, call, previous} = await makeContainer(t);
  const other = {...call, ifName: 'eth7', conf: {...network, sysctl: {}}} as const;
  const missing = await tryPlugin(host, {...other, command: 'ADD', prevResult: previous});
  t.regex(missing.reply?.msg ?? '', /^failed to get "eth7": Link not found/);
  const checked = await tryPlugin(host, {...other, command: 'CHECK', prevResult: previous});
  t.is(checked.reply?.msg, 'Cannot find container link eth7');
  for (const command of ['ADD', 'CHECK'] as const) {
    const {reply} = await tryPlugin(host, {...call, command});
    t.is(reply?.msg, 'Required prevResult missing');
  }
});

test('DEL without a namespace forgets what the interface was like', async (t) => {
  for (const netns of ['', '/run/netns/gone']) {
    const {host, call, previous} = await makeContainer(t);
    await callPlugin(host, {...call, command: 'ADD', prevResult: previous});
    t.true(await hasState(host));
    await callPlugin(host, {...call, netns, command: 'DEL'});
    t.false(await hasState(host));
  }
});

test('DEL after the interface is gone, with a configuration that became nonsense', async (t) => {
  const {host, call, previous} = await makeContainer(t);
  await callPlugin(host, {...call, command: 'ADD', prevResult: previous});
  await host.run(host.inNetns('pod', ['ip', 'link', 'del', 'eth0']));
  const conf = {...network, mtu: 'much', sysctl: 7, mac: 'x'};
  await callPlugin(host, {...call, conf, command: 'DEL', prevResult: {nonsense: 1}});
  t.false(await hasState(host));
});

test('tuned twice in one chain: DEL restores what was there before the first', async (t) => {
  const {host, call, previous} = await makeContainer(t);
  const first = await callPlugin(host, {...call, command: 'ADD', prevResult: previous});
  const conf = {...network, sysctl: {}, mac: '02:00:00:00:00:98', mtu: 1300};
  const second = await callPlugin(host, {...call, conf, command: 'ADD', prevResult: first});
  t.is(second.interfaces?.[1]?.mac, conf.mac);
  const refused = {...call, conf: {...conf, mtu: 70_000}, command: 'ADD', prevResult: second} as const;
  t.is((await tryPlugin(host, refused)).code, 1);
  t.is((await attributesOf(host)).mac, conf.mac);
  for (const each of [conf, network])
    await callPlugin(host, {...call, conf: each, command: 'DEL', prevResult: second});
  t.deepEqual(await attributesOf(host), untouched);
});

// 1.1.1 does not know "txQLen".
const both = {...network, txQLen: null};

test("what is written down is the reference's, and either restores what the other noted", async (t) => {
  const texts: string[] = [];
  const [ours, theirs] = [{}, {dir: referenceDir()}];
  for (const [add, del] of [
    [ours, theirs],
    [theirs, ours],
  ]) {
    const {host, call, previous} = await makeContainer(t, both);
    const prevResult = await callPlugin(host, {...call, ...add, command: 'ADD', prevResult: previous});
    texts.push(await host.read(stateFile));
    // Of a key with IFNAME the reference's CHECK finds no file, and it takes a space for no tab.
    const checked = {...both, sysctl: {}};
    await callPlugin(host, {...call, ...del, conf: checked, command: 'CHECK', prevResult});
    await callPlugin(host, {...call, ...del, command: 'DEL', prevResult});
    t.deepEqual(await attributesOf(host), untouched);
    t.false(await hasState(host));
  }
  t.is(texts[0], texts[1]);
});

test('GC forgets the interfaces of containers that are gone, and keeps what others noted', async (t) => {
  const {host, call, previous} = await makeContainer(t);
  const conf = {...network, cniVersion: '1.1.0', sysctl: {}};
  const prevResult = {...previous, cniVersion: '1.1.0'};
  const add = async (containerId: string, more: Partial<PluginCall> = {}): Promise<Reply> =>
    callPlugin(host, {...call, conf, containerId, command: 'ADD', prevResult, ...more});
  await add('one');
  await add('two');
  await add('other', {conf: {...conf, name: 'other'}});
  await add('theirs', {conf: both, dir: referenceDir(), prevResult: previous});
  await callPlugin(host, {conf, command: 'GC', attachments: [{containerID: 'two', ifname: 'eth0'}]});
  const {stdout} = await host.sh('ls /run/cni/tuning');
  t.deepEqual(stdout.trim().split('\n'), ['other_eth0.json', 'theirs_eth0.json', 'two_eth0.json']);
});

test("the administrator's list decides which sysctls are allowed", async (t) => {
  const {host, call, previous} = await makeContainer(t, {...network, cniVersion: '1.1.0'});
  await host.write('/etc/cni/tuning/allowlist.conf', '\n  ^net\\.ipv4\\.conf\\.IFNAME\\.[a-z_]*$\n');
  const message =
    'Sysctl net.ipv4.ip_local_port_range is not allowed. ' +
    'Only the following sysctls are allowed: [^net\\.ipv4\\.conf\\.IFNAME\\.[a-z_]*$]';
  const prevResult = {...previous, cniVersion: '1.1.0'};
  const added = await tryPlugin(host, {...call, command: 'ADD', prevResult});
  t.like(added.reply, {code: 7, msg: message});
  t.is(await sysctl(host, arpFilter), '0');
  t.like((await tryPlugin(host, {...call, command: 'STATUS'})).reply, {code: 50, msg: message});
  await host.sh('echo net.ipv4 >> /etc/cni/tuning/allowlist.conf');
  await callPlugin(host, {...call, command: 'STATUS'});
  await callPlugin(host, {...call, command: 'ADD', prevResult});
});

test('STATUS says where nothing can be written down', async (t) => {
  const {host, call} = await makeContainer(t, {...network, cniVersion: '1.1.0', dataDir: '/usr/tuning'});
  const {reply} = await tryPlugin(host, {...call, command: 'STATUS'});
  t.like(reply, {code: 50});
  t.regex(reply?.msg ?? '', /^cannot write to \/usr: read-only file system$/);
});
