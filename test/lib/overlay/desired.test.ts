import test from 'ava';
import {formatIp, parseIp} from '../../../lib/ip/address.ts';
import {formatCidr, parseCidr} from '../../../lib/ip/cidr.ts';
import {formatConflict} from '../../../lib/overlay/claims.ts';
import {planDesired} from '../../../lib/overlay/desired.ts';
import {deviceName, overlayMtu, parseDeviceAlias} from '../../../lib/overlay/device-spec.ts';
import type {Desired} from '../../../lib/overlay/state.ts';
import {local, member, network} from './members.ts';

const peers = [member(2)];
const describe = ({devices}: Desired) =>
  devices.map(({name, local: from, addresses, mtu}) =>
    [name, formatIp(from), mtu, ...addresses.map(formatCidr)].join(' '),
  );

test("devices are flannel's, each with the first address of this host's subnet", (t) => {
  const self = member(1, {underlay: [4, 6], overlay: [4, 6]});
  const desired = planDesired({network: network(), self, peers}, local({}, [4, 6]));
  t.deepEqual(describe(desired), [
    'flannel.1 192.0.2.1 1450 10.244.1.0/32',
    'flannel-v6.1 2001:db8::1 1430 fd00:244:0:1::/128',
  ]);
  const [device] = desired.devices;
  t.like(device, {
    vni: 1,
    port: 8472,
    link: 2,
    mac: '02:00:00:00:04:01',
    learning: false,
    proxy: false,
    df: 'inherit',
    udpChecksum: true,
    bridge: undefined,
  });
  t.is(parseDeviceAlias(device!.alias), 'pods');
});

test('one device carries both families where the underlay has one', (t) => {
  const self = member(1, {underlay: [6], overlay: [4, 6]});
  t.deepEqual(describe(planDesired({network: network(), self, peers}, local({}, [6]))), [
    'flannel-v6.1 2001:db8::1 1430 10.244.1.0/32 fd00:244:0:1::/128',
  ]);
});

test('a network of IPv4 alone needs no device over IPv6', (t) => {
  const net = network({ranges: [parseCidr('10.244.0.0/16')!]});
  const self = member(1, {underlay: [4, 6]});
  t.deepEqual(describe(planDesired({network: net, self, peers}, local({}, [4, 6]))), [
    'flannel.1 192.0.2.1 1450 10.244.1.0/32',
  ]);
});

test('tunnels need not be held to an interface', (t) => {
  const {carrier} = local();
  const settings = local({carrier: {...carrier, bind: false}});
  t.is(planDesired({network: network(), self: member(1), peers}, settings).devices[0]!.link, undefined);
});

test('a peer without an address in our underlay is reported, and others work', (t) => {
  const far = member(3, {underlay: [6]});
  const desired = planDesired({network: network(), self: member(1), peers: [far, member(2)]}, local());
  t.deepEqual(desired.conflicts.map(formatConflict), [
    'host-3 is not reachable: it has no IPv4 address in the underlay',
  ]);
  t.deepEqual(
    desired.peers.map(({peer, routes}) => [peer, routes.length]),
    [
      ['host-2', 1],
      ['host-3', 0],
    ],
  );
});

test('a peer with IPv4 alone in the underlay is reached over it for both families', (t) => {
  const self = member(1, {underlay: [4, 6], overlay: [4, 6]});
  const other = member(2, {overlay: [4, 6]});
  const {peers: states} = planDesired({network: network(), self, peers: [other]}, local({}, [4, 6]));
  t.deepEqual(
    states[0]!.routes.map(({dst, via}) => [formatCidr(dst), via]),
    [
      ['10.244.2.0/24', {device: 'flannel.1'}],
      ['fd00:244:0:2::/64', {device: 'flannel.1'}],
    ],
  );
  t.is(states[0]!.ends.length, 1);
});

test('what may send to us: the addresses of those who take part', (t) => {
  const twin = {...member(3), macs: member(2).macs};
  const desired = planDesired({network: network(), self: member(1), peers: [member(2), twin]}, local());
  t.deepEqual(desired.sources.map(formatIp), ['192.0.2.2']);
});

const segment = network({form: 'l2', vni: 42});
const endpoint = (n: number, mac: string) => ({ips: [parseIp(`10.244.0.${n}`)!], mac});

test('a segment with endpoints: every container of a peer is an entry, ARP is answered here', (t) => {
  const self = member(1, {endpoints: [endpoint(5, '02:aa:00:00:00:05')]});
  const other = member(2, {
    endpoints: [
      endpoint(9, '02:aa:00:00:00:09'),
      {ips: [parseIp('10.244.0.10')!, parseIp('fd00:244::10')!], mac: '02:aa:00:00:00:10'},
      // A container that moved here, and is not yet forgotten there.
      endpoint(5, '02:aa:00:00:00:06'),
    ],
  });
  const settings = local({bridge: 'ov42'}, [4, 6]);
  const desired = planDesired({network: segment, self, peers: [other]}, settings);
  t.like(desired.devices, [
    {name: 'flannel.42', proxy: true, learning: false, bridge: 'ov42', addresses: []},
  ]);
  t.is(desired.devices.length, 1);
  const [state] = desired.peers;
  t.deepEqual(
    state!.neighbours.map(({ip, mac}) => `${formatIp(ip)} ${mac}`),
    ['10.244.0.9 02:aa:00:00:00:09', '10.244.0.10 02:aa:00:00:00:10', 'fd00:244::10 02:aa:00:00:00:10'],
  );
  t.deepEqual(
    state!.ends.map(({mac, to}) => `${mac} ${formatIp(to)}`),
    ['02:aa:00:00:00:09 192.0.2.2', '02:aa:00:00:00:10 192.0.2.2'],
  );
  t.deepEqual(state!.routes, []);
  t.deepEqual(desired.conflicts.map(formatConflict), [
    'host-2 claims the endpoint 10.244.0.5, which belongs to host-1',
  ]);
});

test('a segment without endpoints: frames for everybody go to every host, the rest is learned', (t) => {
  const desired = planDesired({network: segment, self: member(1), peers: [member(2), member(3)]}, local());
  t.like(desired.devices[0], {proxy: false, learning: true});
  t.deepEqual(
    desired.peers.flatMap(({ends}) => ends.map(({mac, to}) => `${mac} ${formatIp(to)}`)),
    ['00:00:00:00:00:00 192.0.2.2', '00:00:00:00:00:00 192.0.2.3'],
  );
});

test('the MTU is what fits, or less', (t) => {
  t.is(overlayMtu({underlayMtu: 1500, family: 4}), 1450);
  t.is(overlayMtu({underlayMtu: 1500, family: 6}), 1430);
  t.is(overlayMtu({underlayMtu: 9000, family: 4, wanted: 1400}), 1400);
  t.is(overlayMtu({underlayMtu: 1400, family: 4, wanted: 1450}), 1350);
  t.is(overlayMtu({underlayMtu: 1500, family: 4, cryptoBytes: 36}), 1414);
});

test('names of devices fit into 15 bytes, whatever the VNI', (t) => {
  t.is(deviceName(1, 4), 'flannel.1');
  t.is(deviceName(9999, 6), 'flannel-v6.9999');
  for (const vni of [10_000, 16_777_215])
    for (const family of [4, 6] as const) {
      const name = deviceName(vni, family);
      t.true(name.length <= 15 && name.endsWith(`.${vni}`), name);
    }
});
