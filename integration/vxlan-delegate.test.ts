import {attach, check, detach, listAddresses, makePluginDir, pings} from './harness/attachment.ts';
import {ensurePackages} from './harness/debian.ts';
import {makeHost} from './harness/host.ts';
import {testWith} from './harness/needs.ts';
import {makeRig} from './harness/overlay-rig.ts';
import {pluginDir} from './harness/paths.ts';
import {callPlugin, referenceDir, tryPlugin} from './harness/plugin.ts';
import {assertNothingLeft, staysByDesign, takeSnapshot} from './harness/snapshot.ts';

// Delegates of others, by exec: Debian's reference plugins are of 1.1.1, whose newest version is 1.0.0.

const test = testWith('root', 'apt');

const env = `FLANNEL_NETWORK=10.244.0.0/16
FLANNEL_SUBNET=10.244.7.1/24
FLANNEL_IPV6_NETWORK=fd00:244::/48
FLANNEL_IPV6_SUBNET=fd00:244:0:7::1/64
FLANNEL_MTU=1430
FLANNEL_IPMASQ=true
`;
const network = {cniVersion: '1.0.0', name: 'pods', type: 'flannel'};

test.before(async () => {
  await ensurePackages('reference');
});

for (const [type, delegate] of [
  ['bridge', {type: 'bridge', bridge: 'cni0', isDefaultGateway: true}],
  ['ptp', {type: 'ptp'}],
] as const)
  for (const whose of ['the reference', 'ours'])
    test(`${type} of ${whose} as the delegate`, async (t) => {
      const host = await makeHost(t);
      await host.write('/run/flannel/subnet.env', env);
      const dir =
        whose === 'ours'
          ? undefined
          : await makePluginDir(host, {
              [type]: `exec ${referenceDir()}/${type}\n`,
              'host-local': `exec ${referenceDir()}/host-local\n`,
            });
      const more = dir === undefined ? {} : {dir};
      const before = await takeSnapshot(host);
      const conf = {...network, delegate};
      const one = await attach(host, 'one', conf, more);
      const two = await attach(host, 'two', conf, more);
      t.deepEqual(one.addresses, ['10.244.7.2', 'fd00:244:0:7::2']);
      for (const address of two.addresses) t.true(await pings(host, 'one', address));
      const {code, stdout} = await check(host, one);
      // 1.1.1 looks for routes without gateway in another form than the kernel's; flannel's plugin never asks it.
      if (whose === 'ours') t.is(code, 0, stdout);
      else t.regex(stdout, /Expected Route .* GW:.{0,10}nil.{0,10} not found in routing table/);
      for (const each of [one, two, one]) await detach(host, each);
      for (const name of ['one', 'two']) await host.removeNetns(name);
      await assertNothingLeft(t, host, before, [...staysByDesign, /^file \/run\/xtables.lock$/]);
    });

test("a foreign delegate gets the rendered configuration, and its error comes back with flannel's words", async (t) => {
  const host = await makeHost(t);
  await host.write('/run/flannel/subnet.env', env);
  const dir = await makePluginDir(host, {
    mine: `cat > /run/seen-$CNI_COMMAND
      [ $CNI_COMMAND != ADD ] || { echo '{"code": 42, "msg": "no", "details": "d"}'; exit 1; }`,
  });
  const netns = await host.addNetns('pod');
  const conf = {
    ...network,
    delegate: {type: 'mine', x: [1, {y: null}]},
    ipam: {type: 'other', z: 1},
    runtimeConfig: {mac: '02:00:00:00:00:01'},
  };
  const call = {conf, dir, netns, containerId: 'pod'};
  const before = await takeSnapshot(host);
  const {reply} = await tryPlugin(host, {...call, command: 'ADD'});
  t.deepEqual(reply, {code: 42, msg: 'failed to delegate add: no', details: 'd'});
  const rendered = {
    cniVersion: '1.0.0',
    name: 'pods',
    type: 'mine',
    x: [1, {y: null}],
    ipMasq: false,
    mtu: 1430,
    runtimeConfig: {mac: '02:00:00:00:00:01'},
    ipam: {
      type: 'other',
      z: 1,
      ranges: [[{subnet: '10.244.7.0/24'}], [{subnet: 'fd00:244:0:7::/64'}]],
      routes: [{dst: '10.244.0.0/16'}, {dst: 'fd00:244::/48'}],
    },
  };
  t.deepEqual(JSON.parse(await host.read('/run/seen-ADD')), rendered);
  await assertNothingLeft(t, host, before, [/^file \/run\/seen-/]);
  // Without what was written down, the DEL is by today's configuration.
  await callPlugin(host, {...call, command: 'DEL'});
  t.deepEqual(JSON.parse(await host.read('/run/seen-DEL')), rendered);
  // And without a subnet, what a delegate of others makes of it is only a warning.
  await host.sh('rm -r /run/flannel; printf "#!/bin/sh\\nexit 1\\n" > /run/plugins/mine');
  const {code, stderr} = await tryPlugin(host, {...call, command: 'DEL'});
  t.is(code, 0);
  t.regex(stderr, /DEL by "mine", without what connected the container/);
});

test('a subnet that changes, or is withdrawn, while a container is connected is noticed', async (t) => {
  const host = await makeHost(t);
  for (const [change, msg] of [
    [
      's/\\.7\\./.8./',
      /^this host's subnet changed from 10\.244\.7\.0\/24 and fd00:244:0:7::\/64 to 10\.244\.8\.0\/24 and/,
    ],
    ['s/MTU=.*/MTU=/', /subnet\.env is missing FLANNEL_MTU$/],
  ] as const) {
    await host.write('/run/flannel/subnet.env', env);
    await host.sh('rm -rf /run/plugins');
    const dir = await makePluginDir(host, {
      bridge: `[ $CNI_COMMAND != ADD ] || sed -i '${change}' /run/flannel/subnet.env
        exec ${pluginDir}/bridge`,
    });
    const netns = await host.addNetns('pod');
    const before = await takeSnapshot(host);
    const {reply} = await tryPlugin(host, {conf: network, dir, netns, containerId: 'pod', command: 'ADD'});
    t.regex(reply?.msg ?? '', msg);
    await assertNothingLeft(t, host, before);
    await host.removeNetns('pod');
    await host.sh('ip link del cni0');
  }
});

test('a delegate that is nowhere is said so', async (t) => {
  const host = await makeHost(t);
  await host.write('/run/flannel/subnet.env', env);
  const netns = await host.addNetns('pod');
  const conf = {...network, delegate: {type: 'ipvlan', master: 'eth0'}};
  const call = {conf, netns, containerId: 'pod'};
  const {reply} = await tryPlugin(host, {...call, command: 'ADD'});
  t.regex(reply?.msg ?? '', /^failed to delegate add: failed to find plugin "ipvlan" in path \[/);
});

test('over a tunnel: the delegates of one host are ours, of the other the reference', async (t) => {
  const rig = await makeRig(t, {hosts: 2});
  const conf = {
    ...network,
    type: 'vxlan',
    delegate: {isDefaultGateway: true, ipMasq: false},
    static: {
      network: ['10.244.0.0/16', 'fd00:244::/48'],
      nodes: rig.hosts.map(({name, ipv4}, i) => ({
        name,
        publicIP: ipv4,
        subnets: [`10.244.${i}.0/24`, `fd00:244:0:${i}::/64`],
      })),
    },
  };
  const [one, two] = [rig.host('h1').host, rig.host('h2').host];
  const dir = await makePluginDir(two, {
    bridge: `exec ${referenceDir()}/bridge\n`,
    'host-local': `exec ${referenceDir()}/host-local\n`,
  });
  const near = await attach(one, 'pod', conf);
  const far = await attach(two, 'pod', conf, {dir});
  for (const address of far.addresses) t.true(await pings(one, 'pod', address), address);
  for (const address of near.addresses) t.true(await pings(two, 'pod', address), address);
  t.deepEqual(await listAddresses(two, 'cni0'), ['10.244.1.1/24', 'fd00:244:0:1::1/64']);
});
