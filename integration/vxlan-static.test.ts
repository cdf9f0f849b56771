import type {ExecutionContext} from 'ava';
import {attach, check, detach, pings, showIp, showLink} from './harness/attachment.ts';
import {testWith} from './harness/needs.ts';
import {makeRig, type OverlayRig, type RigHost} from './harness/overlay-rig.ts';
import {callPlugin, tryPlugin} from './harness/plugin.ts';
import {ask, serve} from './harness/ports.ts';

// Hosts that know each other by a list, without agent.

const test = testWith('root');

interface Listed {
  readonly name: string;
  readonly publicIP?: string;
  readonly publicIPv6?: string;
  readonly subnets: readonly string[];
}

/** The hosts of a rig, each with the subnets of its number, over this underlay. */
function listed(rig: OverlayRig, underlay: '4' | '6' | '46', subnetsOf: (i: number) => string[]): Listed[] {
  return rig.hosts.map(({name, ipv4, ipv6}, i) => ({
    name,
    ...(underlay.includes('4') && {publicIP: ipv4}),
    ...(underlay.includes('6') && {publicIPv6: ipv6}),
    subnets: subnetsOf(i + 1),
  }));
}

const ranges = ['10.244.0.0/16', 'fd00:244::/48'];
const subnetsOf = (i: number) => [`10.244.${i}.0/24`, `fd00:244:0:${i}::/64`];

function routed(rig: OverlayRig, underlay: '4' | '6' | '46', more: object = {}) {
  return {
    cniVersion: '1.1.0',
    name: 'pods',
    type: 'vxlan',
    delegate: {isDefaultGateway: true},
    static: {network: ranges, nodes: listed(rig, underlay, subnetsOf), ...more},
  };
}

/** A container on each of the hosts, and that each reaches all the others by every address. */
async function connectAll(t: ExecutionContext, hosts: readonly RigHost[], conf: Record<string, unknown>) {
  const pods = await Promise.all(
    hosts.map(async (each) => ({...each, pod: await attach(each.host, 'pod', conf)})),
  );
  for (const {host, name} of pods)
    for (const {pod, name: to} of pods)
      for (const address of pod.addresses)
        t.true(await pings(host, 'pod', address), `${name} to ${to}, ${address}`);
  return pods;
}

for (const underlay of ['4', '6', '46'] as const)
  test.serial(
    `routed, underlay IPv${underlay.split('').join(' and IPv')}: containers of two hosts reach each other by IPv4 and IPv6`,
    async (t) => {
      const rig = await makeRig(t, {hosts: 2});
      const conf = {...routed(rig, underlay), node: undefined};
      const hosts = rig.hosts;
      // All test hosts have one host name: each finds itself by its address.
      const pods = await connectAll(t, hosts, conf);
      const [one, two] = pods as [(typeof pods)[number], (typeof pods)[number]];
      await serve(two.host, 'pod', 'web', 80);
      for (const [i, address] of two.pod.addresses.entries())
        t.deepEqual(await ask(one.host, 'pod', {address, port: 80}), [`web sees ${one.pod.addresses[i]}`]);
      const mtu = underlay === '4' ? 1450 : 1430;
      // IP and ICMP have 28 bytes.
      for (const [size, passes] of [
        [mtu - 28, true],
        [mtu - 27, false],
      ] as const) {
        const ping = ['ping', '-c', '1', '-W', '2', '-M', 'do', '-s', String(size), two.pod.addresses[0]!];
        t.is(
          (await one.host.run(one.host.inNetns('pod', ping), {mayFail: true})).code === 0,
          passes,
          `${size}`,
        );
      }
      t.like(await showLink(hosts[0]!.host, 'eth0', 'pod'), {mtu});
      for (const {host, pod} of pods) {
        const {code, stdout} = await check(host, pod);
        t.is(code, 0, stdout);
        await callPlugin(host, {conf, command: 'STATUS'});
        await detach(host, pod);
        await callPlugin(host, {conf, command: 'GC', attachments: []});
      }
    },
  );

for (const [family, range, subnets] of [
  ['IPv4', '10.244.0.0/16', (i: number) => [`10.244.${i}.0/24`]],
  ['IPv6', 'fd00:244::/48', (i: number) => [`fd00:244:0:${i}::/64`]],
] as const)
  for (const [underlay, form] of [
    ['4', 'routed'],
    ['6', 'routed'],
    ['6', 'l2'],
  ] as const)
    test.serial(`${form}, ${family} alone, underlay IPv${underlay}`, async (t) => {
      const rig = await makeRig(t, {hosts: 2});
      // In one subnet each host has a part: the same notation.
      const nodes = listed(rig, underlay, subnets);
      const conf = {...routed(rig, underlay), static: {form, network: range, nodes}};
      const [{host, pod}] = (await connectAll(t, rig.hosts, conf)) as [
        Awaited<ReturnType<typeof connectAll>>[number],
      ];
      t.is(pod.addresses.length, 1);
      const {code, stdout} = await check(host, pod);
      t.is(code, 0, stdout);
      await detach(host, pod);
    });

test.serial('l2: one subnet on two hosts, with the same gateway', async (t) => {
  const rig = await makeRig(t, {hosts: 2});
  const nodes = listed(rig, '4', (i) => [`10.9.${i}.0/24`, `fd00:9::${i}:0/112`]);
  const conf = {
    cniVersion: '1.1.0',
    name: 'blue',
    type: 'vxlan',
    delegate: {isDefaultGateway: true},
    static: {network: ['10.9.0.0/16', 'fd00:9::/64'], form: 'l2', vni: 7, nodes},
  };
  const pods = await connectAll(t, rig.hosts, conf);
  t.deepEqual(pods[1]!.pod.result.ips, [
    {interface: 2, address: '10.9.2.0/16', gateway: '10.9.0.1'},
    {interface: 2, address: 'fd00:9::2:0/64', gateway: 'fd00:9::1'},
  ]);
  const macs = await Promise.all(rig.hosts.map(async ({host}) => (await showLink(host, 'br-vx7')).address));
  t.is(macs[0], macs[1]);
  for (const {host, pod} of pods) {
    t.true(await pings(host, 'pod', '10.9.0.1'));
    const {code, stdout} = await check(host, pod);
    t.is(code, 0, stdout);
  }
  const {host, pod} = pods[0]!;
  await detach(host, pod);
  t.deepEqual((await host.sh('ls -A /run/weft/overlay/blue/endpoints')).stdout, '');
});

test.serial('the list may be a file: what changes in it is in place with the next ADD', async (t) => {
  const rig = await makeRig(t, {hosts: 2});
  const [one, two] = [rig.host('h1').host, rig.host('h2').host];
  const {static: members, ...rest} = routed(rig, '4');
  const conf = {...rest, static: '/etc/weft/hosts.json'};
  const [h1, h2] = members.nodes as [Listed, Listed];
  const ghost = {name: 'ghost', publicIP: '192.168.50.99', subnets: ['10.244.99.0/24']};
  const write = (host: typeof one, more: object) =>
    host.write('/etc/weft/hosts.json', JSON.stringify({...members, ...more}));
  await write(one, {nodes: [h1, ghost]});
  await write(two, {});
  await attach(one, 'first', conf);
  const far = await attach(two, 'far', conf);
  t.false(await pings(one, 'first', far.addresses[0]!));
  await write(one, {nodes: [h1, h2]});
  await attach(one, 'second', conf);
  t.true(await pings(one, 'first', far.addresses[0]!));
  const {stdout} = await one.sh('ip route; bridge fdb; ip neigh show nud permanent');
  t.notRegex(stdout, /10\.244\.99|192\.168\.50\.99/);
  // Another VNI: the old device goes.
  for (const host of [one, two]) await write(host, {vni: 42, port: 4789});
  for (const host of [one, two]) await attach(host, 'third', conf);
  t.deepEqual(
    (await showIp<{ifname: string}>(one, ['link', 'show', 'type', 'vxlan'])).map(({ifname}) => ifname),
    ['flannel.42'],
  );
  t.true(await pings(one, 'first', far.addresses[0]!));
  // A list that makes no sense changes nothing.
  await one.write('/etc/weft/hosts.json', '{"network": "10.244.0.0/16", "nodes": [');
  const netns = await one.addNetns('fourth');
  const broken = await tryPlugin(one, {conf, command: 'ADD', netns, containerId: 'fourth'});
  t.like(broken.reply, {code: 7});
  t.regex(broken.reply?.msg ?? '', /^\/etc\/weft\/hosts\.json is not JSON: /);
  t.like((await tryPlugin(one, {conf, command: 'STATUS'})).reply, {code: 50, msg: broken.reply?.msg});
  t.true(await pings(one, 'first', far.addresses[0]!));
});

test.serial('what is lost of the way to other hosts, CHECK tells and the next ADD brings back', async (t) => {
  const rig = await makeRig(t, {hosts: 2});
  const conf = routed(rig, '4');
  const [{host, pod}, {pod: far}] = (await connectAll(t, rig.hosts, conf)) as [
    Awaited<ReturnType<typeof connectAll>>[number],
    Awaited<ReturnType<typeof connectAll>>[number],
  ];
  const [address = ''] = far.addresses;
  for (const [i, damage] of [
    'ip link del flannel.1',
    'ip link set flannel.1 down; ip link set flannel.1 up',
    'ip route flush proto 119',
    'ip link set flannel.1 address 02:00:00:00:00:99',
    'ip link set eth0 mtu 1400',
  ].entries()) {
    await host.sh(damage);
    if (i < 3) {
      t.false(await pings(host, 'pod', address), damage);
      const {reply} = await check(host, pod);
      t.regex(reply?.msg ?? '', /the way to other hosts is not as it should be/, damage);
    }
    await attach(host, `after-${i}`, conf);
    t.true(await pings(host, 'pod', address), damage);
  }
  t.like(await showLink(host, 'flannel.1'), {mtu: 1350});
  t.like(await showLink(host, 'eth0', 'after-4'), {mtu: 1350});
});

test.serial('many ADDs at once on a host that has nothing yet', async (t) => {
  const rig = await makeRig(t, {hosts: 2});
  const conf = routed(rig, '46');
  const {host} = rig.host('h1');
  const pods = await Promise.all(Array.from({length: 8}, (_, i) => attach(host, `pod-${i}`, conf)));
  t.is(new Set(pods.flatMap(({addresses}) => addresses)).size, 16);
  const far = await attach(rig.host('h2').host, 'far', conf);
  for (const {name} of pods) t.true(await pings(host, name, far.addresses[0]!));
});

test.serial(
  'which of the hosts this one is: by "node", by an address, or an error that lists them',
  async (t) => {
    const rig = await makeRig(t, {hosts: 1});
    const {host} = rig.host('h1');
    const conf = routed(rig, '4');
    const status = async (more: object) =>
      (await tryPlugin(host, {conf: {...conf, ...more}, command: 'STATUS'})).reply;
    t.is(await status({node: 'h1'}), undefined);
    t.like(await status({node: 'h7'}), {
      code: 50,
      msg: '"static" lists no node "h7"',
      details: 'listed are h1; add this host, or say with the key "node" which of them it is',
    });
    const elsewhere = [{name: 'a', publicIP: '192.168.50.77', subnets: ['10.244.1.0/24']}];
    const other = {...conf.static, nodes: elsewhere};
    t.regex(
      (await status({static: other}))?.msg ?? '',
      /^"static" lists neither a node ".*" nor one with an address/,
    );
    t.regex(
      (await status({static: other, node: 'a'}))?.msg ?? '',
      /no interface has its address 192\.168\.50\.77/,
    );
    // The name of the host comes before an address.
    await host.sh('hostname a');
    t.regex((await status({static: other}))?.msg ?? '', /no interface has its address 192\.168\.50\.77/);
    const overlapping = [...elsewhere, {name: 'b', publicIP: '192.168.50.78', subnets: ['10.244.1.0/25']}];
    t.regex(
      (await status({static: {...conf.static, nodes: overlapping}}))?.msg ?? '',
      /^"static": nodes\[1\]\.subnets\[0\]: 10\.244\.1\.0\/25 overlaps 10\.244\.1\.0\/24/,
    );
    t.is((await showIp(host, ['link', 'show', 'type', 'vxlan'])).length, 0);
  },
);

test.serial('directRouting: peers on the same segment are reached without a tunnel', async (t) => {
  const rig = await makeRig(t, {hosts: 2, far: true});
  const conf = routed(rig, '46', {directRouting: true});
  // The routers have just been made, and do not pass on the first packets.
  await rig.host('h1').host.sh('until ping -c 1 -W 1 fd00:60::11; do :; done');
  await connectAll(t, rig.hosts, conf);
  const {stdout} = await rig.host('h1').host.sh('ip route show proto 119; ip -6 route show proto 119');
  t.regex(stdout, /^10\.244\.2\.0\/24 via 192\.168\.50\.12 dev eth0/m);
  t.regex(stdout, /^fd00:244:0:2::\/64 via fd00:50::12 dev eth0/m);
  t.regex(stdout, /^10\.244\.3\.0\/24 via 10\.244\.3\.0 dev flannel\.1 onlink/m);
});
