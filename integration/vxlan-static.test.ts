import type {ExecutionContext} from 'ava';
import {attach, check, detach, pings, showLink} from './harness/attachment.ts';
import {testWith} from './harness/needs.ts';
import {makeRig, type OverlayRig, type RigHost} from './harness/overlay-rig.ts';
import {callPlugin, tryPlugin} from './harness/plugin.ts';

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
  test(`routed, underlay IPv${underlay.split('').join(' and IPv')}: containers of two hosts reach each other by IPv4 and IPv6`, async (t) => {
    const rig = await makeRig(t, {hosts: 2});
    const conf = {...routed(rig, underlay), node: undefined};
    const hosts = rig.hosts;
    // All test hosts have one host name: each finds itself by its address.
    const pods = await connectAll(t, hosts, conf);
    const mtu = underlay === '4' ? 1450 : 1430;
    t.like(await showLink(hosts[0]!.host, 'eth0', 'pod'), {mtu});
    for (const {host, pod} of pods) {
      const {code, stdout} = await check(host, pod);
      t.is(code, 0, stdout);
      await callPlugin(host, {conf, command: 'STATUS'});
      await detach(host, pod);
      await callPlugin(host, {conf, command: 'GC', attachments: []});
    }
  });

test('l2: one subnet on two hosts, with the same gateway', async (t) => {
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
