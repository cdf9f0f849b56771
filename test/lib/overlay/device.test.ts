import test from 'ava';
import {formatIp, parseIp} from '../../../lib/ip/address.ts';
import {parseCidr} from '../../../lib/ip/cidr.ts';
import type {KnownLinkInfo} from '../../../lib/netlink/link/kinds.ts';
import type {Address} from '../../../lib/netlink/route/address.ts';
import type {Link} from '../../../lib/netlink/route/link.ts';
import {formatDevicePlan, planDevice, vxlanData} from '../../../lib/overlay/device.ts';
import type {DeviceSpec} from '../../../lib/overlay/device-spec.ts';

const spec: DeviceSpec = {
  name: 'flannel.1',
  vni: 1,
  port: 8472,
  local: parseIp('192.0.2.1')!,
  link: 2,
  mtu: 1450,
  mac: '02:00:00:00:04:01',
  learning: false,
  proxy: false,
  df: 'inherit',
  udpChecksum: true,
  addresses: [parseCidr('10.244.1.0/32')!],
  bridge: undefined,
  alias: 'weft overlay pods',
};

type VxlanData = NonNullable<Extract<KnownLinkInfo, {kind: 'vxlan'}>['data']>;

function found(changes: Partial<Link> = {}, data: VxlanData = {}): {link: Link; addresses: Address[]} {
  const link = {
    ...{ifindex: 3, name: 'flannel.1', mac: spec.mac, mtu: 1450, flags: 1, up: true, promisc: false},
    ...{promiscuity: 0, allMulti: false, txQueueLength: 1000, operstate: 'unknown', master: undefined},
    ...{link: undefined, linkNetnsId: undefined, alias: spec.alias, group: 0, port: undefined},
    info: {kind: 'vxlan', data: {...vxlanData(spec), ...data}},
    ...changes,
  } satisfies Link;
  return {link, addresses: [address('10.244.1.0/32')]};
}

function address(text: string, scope = 0): Address {
  const rest = {flags: 0x80, tentative: false, dadFailed: false, peer: undefined, broadcast: undefined};
  return {...parseCidr(text)!, ifindex: 3, scope, ...rest};
}

const bridged = {...spec, addresses: [], bridge: 'br0'};

test('a device as it should be is left alone', (t) => {
  const plan = planDevice(spec, found());
  t.is(formatDevicePlan(plan), '');
  t.deepEqual(plan.change, {});
});

const inPlace: readonly (readonly [title: string, link: Partial<Link>, data: VxlanData, expected: string])[] =
  [
    ['local', {}, {local: parseIp('192.0.2.9')!}, 'local 192.0.2.9 -> 192.0.2.1'],
    ['link', {}, {link: 7}, 'link 7 -> 2'],
    ['learning', {}, {learning: true}, 'learning true -> false'],
    ['df', {}, {df: 0}, 'df 0 -> 2'],
    ['mtu', {mtu: 1400}, {}, 'mtu 1400 -> 1450'],
    ['mac', {mac: '02:00:00:00:00:99'}, {}, 'mac 02:00:00:00:00:99 -> 02:00:00:00:04:01'],
    ['alias', {alias: undefined}, {}, 'alias undefined -> weft overlay pods'],
    ['state', {up: false}, {}, 'state down -> up'],
  ];

for (const [title, link, data, expected] of inPlace) {
  test(`${title} is changed in place`, (t) => {
    const plan = planDevice(spec, found(link, data));
    t.is(formatDevicePlan(plan), expected);
    t.deepEqual(plan.remake, []);
  });
}

test('what the kernel does not tell is not changed again and again', (t) => {
  t.is(formatDevicePlan(planDevice(spec, found({}, {df: undefined}))), '');
});

const anew: readonly (readonly [title: string, data: VxlanData, expected: string])[] = [
  ['VNI', {id: 2}, 'VNI is 2 instead of 1'],
  ['port', {port: 4789}, 'port is 4789 instead of 8472'],
  ['proxy', {proxy: true}, 'proxy is true instead of false'],
  ['udpcsum', {udpChecksum: false}, 'udpcsum is false instead of true'],
  ['gbp', {gbp: true}, 'gbp is true instead of false'],
  ['external', {collectMetadata: true}, 'external is true instead of false'],
  [
    'the family of the underlay',
    {local: undefined, local6: parseIp('2001:db8::1')!},
    'family of the underlay is 6 instead of 4',
  ],
];

for (const [title, data, expected] of anew) {
  test(`${title} needs a new device`, (t) => {
    t.deepEqual(planDevice(spec, found({}, data)).remake, [expected]);
  });
}

test('a link of another kind is no device of ours', (t) => {
  const bridge = {info: {kind: 'bridge'}} as const;
  t.deepEqual(planDevice(spec, found(bridge)).remake, ['it is no vxlan device but of kind bridge']);
  t.deepEqual(planDevice(spec, found({info: undefined})).remake, ['it is no vxlan device but another link']);
});

test('its addresses are those of the plan; what the kernel gives itself stays', (t) => {
  const {link} = found();
  const addresses = [address('10.244.7.0/32'), address('fe80::1/64', 253)];
  const plan = planDevice(spec, {link, addresses});
  t.is(formatDevicePlan(plan), 'address + 10.244.1.0/32, address - 10.244.7.0/32');
  t.deepEqual(
    plan.removeAddresses.map(({ip}) => formatIp(ip)),
    ['10.244.7.0'],
  );
});

test('the port of a bridge that it should be', (t) => {
  const {link} = found();
  const device = {link, addresses: []};
  t.is(formatDevicePlan(planDevice(bridged, device, {bridge: 9})), 'master undefined -> 9');
  t.is(planDevice(bridged, device, {bridge: 9}).change.master, 9);
  t.is(formatDevicePlan(planDevice(bridged, {link: {...link, master: 9}, addresses: []}, {bridge: 9})), '');
});

test('several differences are one change', (t) => {
  const {change} = planDevice(
    spec,
    found({up: false, mtu: 1400}, {learning: true, local: parseIp('192.0.2.9')!}),
  );
  t.deepEqual(change, {
    info: {kind: 'vxlan', data: {id: 1, local: spec.local, learning: false}},
    mtu: 1450,
    up: true,
  });
});
