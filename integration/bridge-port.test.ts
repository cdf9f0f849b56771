import {
  attach,
  check,
  detach,
  fakeIpam,
  listAddresses,
  macOrigin,
  makePluginDir,
  pings,
  showIp,
  showLink,
} from './harness/attachment.ts';
import {makeHost} from './harness/host.ts';
import {testWith} from './harness/needs.ts';
import {bridgeNetwork} from './harness/networks.ts';
import {callPlugin, tryPlugin} from './harness/plugin.ts';
import {assertNothingLeft, staysByDesign, takeSnapshot} from './harness/snapshot.ts';

const test = testWith('root');

const ofTests = [/^mount nsfs /, /^file \/run\/netns\//];

function network(more: Readonly<Record<string, unknown>> = {}) {
  return bridgeNetwork({
    name: 'ports',
    cniVersion: '1.1.0',
    ipMasq: false,
    ipam: {type: 'host-local', ranges: [[{subnet: '10.61.0.0/24'}], [{subnet: '2001:db8:61::/64'}]]},
    ...more,
  });
}

/** Without ipam and gateway. */
function layer2(more: Readonly<Record<string, unknown>> = {}) {
  return {cniVersion: '1.1.0', name: 'ports', type: 'bridge', bridge: 'cni0', ...more};
}

test('layer 2: a container that is up on the bridge and nothing else', async (t) => {
  const host = await makeHost(t);
  const before = await takeSnapshot(host);
  const a = await attach(host, 'a', layer2());
  const bridge = await showLink(host, 'cni0');
  const port = await showLink(host, a.port);
  const container = await showLink(host, 'eth0', 'a');
  t.deepEqual(a.result, {
    cniVersion: '1.1.0',
    interfaces: [
      {name: 'cni0', mac: bridge.address},
      {name: a.port, mac: port.address},
      {name: 'eth0', mac: container.address, sandbox: a.netns},
    ],
  });
  t.is(port.master, 'cni0');
  t.true(container.flags.includes('UP'));
  t.is(container.operstate, 'UP');
  t.is(port.operstate, 'UP');
  t.deepEqual(await listAddresses(host, 'cni0'), []);
  t.deepEqual(await listAddresses(host, 'eth0', 'a'), []);
  t.is((await check(host, a)).code, 0);
  await detach(host, a);
  await detach(host, a);
  await assertNothingLeft(t, host, before, [...staysByDesign, ...ofTests]);
});

test('layer 2: containers that take addresses themselves reach each other', async (t) => {
  const host = await makeHost(t);
  for (const [name, address] of [
    ['a', '10.5.0.1/24'],
    ['b', '10.5.0.2/24'],
  ] as const) {
    await attach(host, name, layer2({ipam: {}}));
    await host.run(host.inNetns(name, ['ip', 'address', 'add', address, 'dev', 'eth0']));
  }
  t.true(await pings(host, 'a', '10.5.0.2'));
});

test('disableContainerInterface leaves the link of the container down', async (t) => {
  const host = await makeHost(t);
  const a = await attach(host, 'a', layer2({disableContainerInterface: true}));
  t.false((await showLink(host, 'eth0', 'a')).flags.includes('UP'));
  t.true((await showLink(host, a.port)).flags.includes('UP'));
  t.is((await check(host, a)).code, 0);
  await detach(host, a);
});

test('mtu is that of the new bridge and of both ends', async (t) => {
  const host = await makeHost(t);
  const a = await attach(host, 'a', network({mtu: 1380}));
  t.is((await showLink(host, 'cni0')).mtu, 1380);
  t.is((await showLink(host, a.port)).mtu, 1380);
  t.is((await showLink(host, 'eth0', 'a')).mtu, 1380);
  const large = async (bytes: number) =>
    (
      await host.run(
        host.inNetns('a', ['ping', '-c', '1', '-W', '1', '-M', 'do', '-s', `${bytes - 28}`, '10.61.0.1']),
        {mayFail: true},
      )
    ).code;
  t.is(await large(1380), 0);
  t.not(await large(1381), 0);
});

test('an MTU the kernel does not take is an error that leaves nothing but the bridge', async (t) => {
  const host = await makeHost(t);
  const netns = await host.addNetns('a');
  const before = await takeSnapshot(host);
  // IPv6 works from 1280 on.
  for (const mtu of [20, 1000]) {
    const call = {conf: network({mtu}), netns, containerId: 'a'};
    const {code, reply} = await tryPlugin(host, {...call, command: 'ADD'});
    t.is(code, 1);
    t.regex(reply?.msg ?? '', /mtu/i);
    await assertNothingLeft(t, host, before);
  }
});

test('a port that does not come up is an error that names its state, and leaves nothing', async (t) => {
  const host = await makeHost(t);
  const dir = await makePluginDir(host, {
    fake: `if [ $CNI_COMMAND = ADD ]; then
      ip link set $(ls /sys/class/net | grep ^veth) mode dormant
      for state in down up; do nsenter --net=$CNI_NETNS ip link set eth0 $state; done
    fi
    ${fakeIpam({cniVersion: '1.1.0', ips: [{address: '10.61.0.2/24'}]})}`,
  });
  const netns = await host.addNetns('a');
  const before = await takeSnapshot(host);
  const call = {conf: network({ipam: {type: 'fake'}}), netns, containerId: 'a', dir};
  const {code, reply} = await tryPlugin(host, {...call, command: 'ADD'});
  t.is(code, 1);
  t.regex(reply?.msg ?? '', /^bridge port in error state: dormant \(veth[0-9a-f]{8}, after 2500 ms\)$/);
  await assertNothingLeft(t, host, before);
});

test('the MAC of each source is that of the container', async (t) => {
  const host = await makeHost(t);
  const [runtime, args, environment] = ['02:00:00:00:00:01', '02:00:00:00:00:02', '02:00:00:00:00:03'];
  const cases = [
    {
      conf: network({runtimeConfig: {mac: runtime}, args: {cni: {mac: args}}}),
      args: `MAC=${environment}`,
      mac: runtime,
    },
    {conf: network({args: {cni: {mac: args}}}), args: `IgnoreUnknown=1;MAC=${environment}`, mac: args},
    {conf: layer2(), args: `MAC=${environment}`, mac: environment},
  ];
  for (const [i, each] of cases.entries()) {
    // host-local refuses MAC in CNI_ARGS without IgnoreUnknown, as the reference does.
    const given = each.args.startsWith('IgnoreUnknown') ? each.args : `IgnoreUnknown=1;${each.args}`;
    const a = await attach(host, `a${i}`, each.conf, {args: given});
    t.is((await showLink(host, 'eth0', `a${i}`)).address, each.mac);
    t.is(a.result.interfaces?.[2]?.mac, each.mac);
    t.is((await check(host, a)).code, 0);
  }
});

test('nobody gets to choose a MAC for us: all of them count as set, and random ones differ', async (t) => {
  const host = await makeHost(t);
  const a = await attach(host, 'a', network());
  const b = await attach(host, 'b', network());
  t.is(await macOrigin(host, 'cni0'), 3);
  t.is(await macOrigin(host, a.port), 3);
  t.is(await macOrigin(host, 'eth0', 'a'), 3);
  const macs = [a, b].flatMap(({result}) => result.interfaces?.map(({mac = ''}) => mac) ?? []);
  t.is(new Set(macs).size, 5);
  for (const mac of macs) t.is(Number.parseInt(mac.slice(0, 2), 16) & 3, 2, mac);
});

test('the MAC of the bridge stays while ports come and go', async (t) => {
  const host = await makeHost(t);
  const mac = async () => (await showLink(host, 'cni0')).address;
  const a = await attach(host, 'a', layer2());
  const first = await mac();
  // Lower than any address we choose: a bridge left to itself would take it.
  const b = await attach(host, 'b', layer2());
  await host.run(['ip', 'link', 'set', b.port, 'address', '02:00:00:00:00:00']);
  await host.sh(
    'ip link add low address 02:00:00:00:00:01 type veth peer name other; ip link set low master cni0',
  );
  t.is(await mac(), first);
  await detach(host, a);
  t.is(await mac(), first);
  await host.run(['ip', 'link', 'del', 'low']);
  await detach(host, b);
  t.is(await mac(), first);
});

test("an admin's bridge whose MAC follows its ports is pinned once it is a gateway", async (t) => {
  const host = await makeHost(t);
  await host.sh('ip link add cni0 type bridge; ip link set cni0 up');
  const a = await attach(host, 'a', network());
  const first = (await showLink(host, 'cni0')).address;
  t.is(a.result.interfaces?.[0]?.mac, first);
  const b = await attach(host, 'b', network());
  t.is((await showLink(host, 'cni0')).address, first);
  t.is(b.result.interfaces?.[0]?.mac, first);
  t.is((await check(host, a)).code, 0);
  t.true(await pings(host, 'a', '10.61.0.1'));
});

test("layer 2 on an admin's bridge whose MAC follows its ports: the result says what it is, CHECK passes", async (t) => {
  const host = await makeHost(t);
  await host.sh('ip link add cni0 type bridge; ip link set cni0 up');
  const a = await attach(host, 'a', layer2());
  t.is(a.result.interfaces?.[0]?.mac, (await showLink(host, 'cni0')).address);
  t.is((await check(host, a)).code, 0);
});

test('hairpinMode: a container reaches itself through the bridge port', async (t) => {
  const host = await makeHost(t);
  const a = await attach(host, 'a', network({hairpinMode: true}));
  const b = await attach(host, 'b', network());
  t.true((await showLink(host, a.port)).linkinfo?.info_slave_data?.hairpin);
  t.false((await showLink(host, b.port)).linkinfo?.info_slave_data?.hairpin);
  for (const each of [a, b]) t.is((await check(host, each)).code, 0);
  // An ARP request for a MAC nobody knows is flooded: with hairpin, to its own port too.
  const comesBack = async (name: string) => {
    await host.run(host.inNetns(name, ['nft', '-f', '-']), {stdin: counter});
    await host.run(
      host.inNetns(name, ['ip', 'neigh', 'add', '10.61.0.200', 'lladdr', '02:00:00:00:00:77', 'dev', 'eth0']),
    );
    await host.run(host.inNetns(name, ['ping', '-c', '2', '-i', '0.2', '-W', '1', '10.61.0.200']), {
      mayFail: true,
    });
    const {stdout} = await host.run(host.inNetns(name, ['nft', 'list', 'table', 'netdev', 'watch']));
    return Number(/packets (\d+)/.exec(stdout)?.[1]);
  };
  t.true((await comesBack('a')) >= 2);
  t.is(await comesBack('b'), 0);
});

const counter = `
table netdev watch {
  chain ingress {
    type filter hook ingress device eth0 priority 0;
    ether daddr 02:00:00:00:00:77 counter
  }
}
`;

test('promiscMode puts the bridge into promiscuous mode, an existing one too', async (t) => {
  const host = await makeHost(t);
  const a = await attach(host, 'a', network({promiscMode: true}));
  t.true((await showLink(host, 'cni0')).flags.includes('PROMISC'));
  t.is((await check(host, a)).code, 0);
  await host.sh('ip link add cni1 type bridge');
  const b = await attach(host, 'b', layer2({bridge: 'cni1', promiscMode: true}));
  t.true((await showLink(host, 'cni1')).flags.includes('PROMISC'));
  await host.sh('ip link set cni1 promisc off');
  const {code, reply} = await check(host, b);
  t.is(code, 1);
  t.regex(reply?.msg ?? '', /promiscMode/);
});

test('portIsolation: isolated containers reach the gateway and the others, not each other', async (t) => {
  const host = await makeHost(t);
  const a = await attach(host, 'a', network({portIsolation: true}));
  const b = await attach(host, 'b', network({portIsolation: true}));
  const c = await attach(host, 'c', network());
  t.true((await showLink(host, a.port)).linkinfo?.info_slave_data?.isolated);
  t.true(await pings(host, 'a', '10.61.0.1'));
  t.true(await pings(host, 'a', '2001:db8:61::1'));
  t.true(await pings(host, 'a', c.addresses[0] ?? ''));
  t.true(await pings(host, 'c', b.addresses[1] ?? ''));
  t.false(await pings(host, 'a', b.addresses[0] ?? ''));
  t.false(await pings(host, 'a', b.addresses[1] ?? ''));
  for (const each of [a, b, c]) t.is((await check(host, each)).code, 0);
});

test('macspoofchk drops frames whose source address is not the container’s', async (t) => {
  const host = await makeHost(t);
  const before = await takeSnapshot(host);
  const a = await attach(host, 'a', network({macspoofchk: true}));
  const b = await attach(host, 'b', network());
  const address = b.addresses[0] ?? '';
  t.true(await pings(host, 'a', address));
  t.is((await check(host, a)).code, 0);
  const own = a.result.interfaces?.[2]?.mac ?? '';
  const pretend = async (mac: string) => {
    await host.run(host.inNetns('a', ['ip', 'link', 'set', 'eth0', 'address', mac]));
    await host.run(host.inNetns('a', ['ip', 'neigh', 'flush', 'dev', 'eth0']));
    return pings(host, 'a', address);
  };
  t.false(await pretend('02:00:00:00:00:66'));
  t.true(await pretend(own));
  await detach(host, a);
  await detach(host, b);
  await assertNothingLeft(t, host, before, [...staysByDesign, ...ofTests]);
});

test('macspoofchk does not disturb the ports beside it, and works without addresses', async (t) => {
  const host = await makeHost(t);
  const a = await attach(host, 'a', layer2({macspoofchk: true}));
  const b = await attach(host, 'b', layer2({macspoofchk: true}));
  await host.run(host.inNetns('a', ['ip', 'address', 'add', '10.5.0.1/24', 'dev', 'eth0']));
  await host.run(host.inNetns('b', ['ip', 'address', 'add', '10.5.0.2/24', 'dev', 'eth0']));
  t.true(await pings(host, 'a', '10.5.0.2'));
  await detach(host, a);
  const {stdout} = await host.run(['nft', 'list', 'ruleset', 'bridge']);
  t.false(stdout.includes('cni-br-iface-a-eth0'));
  t.true(stdout.includes('cni-br-iface-b-eth0'));
  t.is((await check(host, b)).code, 0);
});

test('without enabledad an IPv6 address is usable at once', async (t) => {
  const host = await makeHost(t);
  await attach(host, 'a', network());
  const [shown] = await showIp<{addr_info: {local: string; tentative?: boolean}[]}>(
    host,
    ['-6', 'address', 'show', 'dev', 'eth0'],
    'a',
  );
  const global = shown?.addr_info.find(({local}) => local.startsWith('2001:'));
  t.truthy(global);
  t.falsy(global?.tentative);
});

test('enabledad: ADD waits until addresses are known to be unique', async (t) => {
  const host = await makeHost(t);
  const a = await attach(host, 'a', network({enabledad: true}));
  const {stdout} = await host.run(host.inNetns('a', ['ip', '-6', 'address', 'show', 'dev', 'eth0']));
  t.notRegex(stdout, /tentative|dadfailed/);
  t.regex(stdout, /2001:db8:61::2/);
  t.is((await check(host, a)).code, 0);
});

test('enabledad: an address that a neighbour has fails the ADD and leaves nothing', async (t) => {
  const host = await makeHost(t);
  await attach(host, 'b', layer2());
  await host.run(host.inNetns('b', ['ip', 'address', 'add', '2001:db8:61::2/64', 'dev', 'eth0', 'nodad']));
  const netns = await host.addNetns('a');
  const before = await takeSnapshot(host);
  const call = {conf: network({enabledad: true}), netns, containerId: 'a'};
  const {code, reply} = await tryPlugin(host, {...call, command: 'ADD'});
  t.is(code, 1);
  t.true(reply?.msg?.startsWith('link eth0 has address 2001:db8:61::2 in DADFAILED state'), reply?.msg);
  await assertNothingLeft(t, host, before);
  t.deepEqual(
    (await showIp<{ifname: string}>(host, ['link'], 'a')).map(({ifname}) => ifname),
    ['lo'],
  );
  await callPlugin(host, {...call, command: 'DEL'});
});

test('a container whose IPv6 is switched off gets its IPv6 address all the same', async (t) => {
  const host = await makeHost(t);
  const netns = await host.addNetns('a');
  await host.run(
    host.inNetns('a', [
      'sh',
      '-c',
      'echo 1 > /proc/sys/net/ipv6/conf/all/disable_ipv6; echo 1 > /proc/sys/net/ipv6/conf/default/disable_ipv6',
    ]),
  );
  await callPlugin(host, {conf: network(), netns, containerId: 'a', command: 'ADD'});
  t.true(await pings(host, 'a', '2001:db8:61::1'));
});

test('two interfaces of one container on one network', async (t) => {
  const host = await makeHost(t);
  const before = await takeSnapshot(host);
  const conf = network({ipMasq: true, macspoofchk: true});
  const a = await attach(host, 'a', conf);
  const call = {conf, netns: a.netns, containerId: 'a', ifName: 'net1'};
  const second = await callPlugin(host, {...call, command: 'ADD'});
  t.deepEqual(await listAddresses(host, 'net1', 'a'), ['10.61.0.3/24', '2001:db8:61::3/64']);
  await detach(host, a);
  await callPlugin(host, {...call, command: 'CHECK', prevResult: second});
  await callPlugin(host, {...call, command: 'DEL', prevResult: second});
  await assertNothingLeft(t, host, before, [...staysByDesign, ...ofTests]);
});
