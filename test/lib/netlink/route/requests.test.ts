import test from 'ava';
import {attrs, message} from '../../../../lib/netlink/attrs.ts';
import {bridgePort} from '../../../../lib/netlink/link/bridge-port.ts';
import {ifinfomsg} from '../../../../lib/netlink/link/common.ts';
import {parseIp, type Ip} from '../../../../lib/ip/address.ts';
import {parseCidr, type Cidr} from '../../../../lib/ip/cidr.ts';
import {addAddress, addressMessage, removeAddress} from '../../../../lib/netlink/route/address.ts';
import {setBridgePort} from '../../../../lib/netlink/route/bridge-port.ts';
import {addBridgeVlans, removeBridgeVlans, vlanMessage} from '../../../../lib/netlink/route/bridge-vlan.ts';
import {addLink, linkMessage, removeLink, setLink} from '../../../../lib/netlink/route/link.ts';
import {vxlanDf} from '../../../../lib/netlink/link/vxlan.ts';
import {
  addNeighbour,
  ensureNeighbour,
  neighbourMessage,
  removeNeighbour,
} from '../../../../lib/netlink/route/neighbour.ts';
import {addRoute, removeRoute, routeMessage} from '../../../../lib/netlink/route/route.ts';
import {addRule, ruleMessage} from '../../../../lib/netlink/route/rule.ts';
import type {RouteSocket} from '../../../../lib/netlink/route/socket.ts';
import {capturedCommands, sentBy, type CapturedMessage} from '../../../helpers/captures.ts';
import {samples} from '../../../helpers/link-kinds.ts';
import {recordingNetlink} from '../../../helpers/recording-netlink.ts';

type Read = (message: CapturedMessage) => unknown;
const reader =
  (codec: {get(b: Buffer, start: number, end: number): unknown}): Read =>
  ({body}) =>
    codec.get(body, 0, body.length);

const readers = {
  link: reader(linkMessage),
  port: reader(message(ifinfomsg, attrs({port: [12, bridgePort]}))),
  vlans: reader(vlanMessage),
  address: reader(addressMessage),
  route: reader(routeMessage),
  neighbour: reader(neighbourMessage),
  rule: reader(ruleMessage),
};

const ip = (text: string): Ip => parseIp(text)!;
const cidr = (text: string): Cidr => parseCidr(text)!;
const indexIn = (
  command: string,
  codec: {get(b: Buffer, s: number, e: number): {header: {ifindex?: number}}},
) => {
  const {body} = sentBy(command);
  return codec.get(body, 0, body.length).header.ifindex!;
};
const veth0 = indexIn('ip link set dev veth0 up', linkMessage);
const veth2 = indexIn('ip link set dev veth2 group 7', linkMessage);
const veth3 = indexIn('ip link set dev veth3 netns /proc/self/fd/9', linkMessage);
const ifb9 = indexIn('ip link del dev ifb9', linkMessage);
const br0 = indexIn('ip addr add 10.1.2.3/24 brd 10.1.2.255 dev br0', addressMessage);
const flannel = {ifindex: indexIn('ip neigh del 10.244.2.0 dev flannel.1', neighbourMessage)};
const mac = (digits: string) => `02:00:00:00:00:${digits}`;
const farEnd = {...flannel, bridge: true, ip: ip('10.1.2.7'), state: 0xc0, flags: 0x02};
const viaBr0 = (dst: string, gateway: string) => ({dst: cidr(dst), gateway: ip(gateway), ifindex: br0});

/** The function that makes the same request as the command. */
const calls: Readonly<Record<string, readonly [Read, (rt: RouteSocket) => Promise<unknown>]>> = {
  'ip link add veth0 type veth peer name veth1': [
    readers.link,
    (rt) => addLink(rt, {name: 'veth0', info: {kind: 'veth', data: {peer: {name: 'veth1'}}}}),
  ],
  [samples.veth.command]: [
    readers.link,
    (rt) => addLink(rt, {name: 'veth2', mac: mac('02'), mtu: 1400, info: samples.veth.info}),
  ],
  [samples.bridge.command]: [
    readers.link,
    (rt) => addLink(rt, {name: 'br0', mtu: 1450, info: samples.bridge.info}),
  ],
  [samples.vlan.command]: [
    readers.link,
    (rt) => addLink(rt, {name: 'veth0.7', link: veth0, info: samples.vlan.info}),
  ],
  [samples.dummy.command]: [readers.link, (rt) => addLink(rt, {name: 'dummy0', info: samples.dummy.info})],
  [samples.ifb.command]: [readers.link, (rt) => addLink(rt, {name: 'ifb9', info: samples.ifb.info})],
  'ip link set dev veth0 up': [readers.link, (rt) => setLink(rt, {ifindex: veth0}, {up: true})],
  'ip link set dev veth0 promisc on': [readers.link, (rt) => setLink(rt, {ifindex: veth0}, {promisc: true})],
  'ip link set dev veth0 allmulticast on': [
    readers.link,
    (rt) => setLink(rt, {ifindex: veth0}, {allMulti: true}),
  ],
  'ip link set dev veth0 txqueuelen 500': [
    readers.link,
    (rt) => setLink(rt, {ifindex: veth0}, {txQueueLength: 500}),
  ],
  'ip link set dev veth0 mtu 1280 address 02:00:00:00:00:10 alias a port': [
    readers.link,
    (rt) => setLink(rt, {ifindex: veth0}, {mtu: 1280, mac: mac('10'), alias: 'a port'}),
  ],
  'ip link set dev veth0 master br0': [readers.link, (rt) => setLink(rt, {ifindex: veth0}, {master: br0})],
  'ip link set dev veth2 group 7': [readers.link, (rt) => setLink(rt, {ifindex: veth2}, {group: 7})],
  'bridge link set dev veth0 hairpin on': [
    readers.port,
    (rt) => setBridgePort(rt, {ifindex: veth0}, {hairpin: true}),
  ],
  'bridge link set dev veth0 isolated on': [
    readers.port,
    (rt) => setBridgePort(rt, {ifindex: veth0}, {isolated: true}),
  ],
  'bridge vlan add dev veth0 vid 7 pvid untagged': [
    readers.vlans,
    (rt) => addBridgeVlans(rt, {ifindex: veth0}, [{first: 7, last: 7, pvid: true, untagged: true}]),
  ],
  'bridge vlan add dev veth0 vid 10-20': [
    readers.vlans,
    (rt) => addBridgeVlans(rt, {ifindex: veth0}, [{first: 10, last: 20}]),
  ],
  'bridge vlan add dev br0 vid 7 self': [
    readers.vlans,
    (rt) => addBridgeVlans(rt, {ifindex: br0, self: true}, [{first: 7, last: 7}]),
  ],
  'bridge vlan del dev veth0 vid 1-4094': [
    readers.vlans,
    (rt) => removeBridgeVlans(rt, {ifindex: veth0}, [{first: 1, last: 4094}]),
  ],
  'ip addr add 10.1.2.3/24 brd 10.1.2.255 dev br0': [
    readers.address,
    (rt) => addAddress(rt, {...cidr('10.1.2.3/24'), ifindex: br0}),
  ],
  'ip addr add fd00:1::3/64 dev br0 nodad': [
    readers.address,
    (rt) => addAddress(rt, {...cidr('fd00:1::3/64'), ifindex: br0, noDad: true}),
  ],
  'ip addr del 10.9.0.1/32 dev br0': [
    readers.address,
    (rt) => removeAddress(rt, {...cidr('10.9.0.1/32'), ifindex: br0}),
  ],
  'ip route add 10.5.0.0/16 via 10.1.2.1 dev br0': [
    readers.route,
    (rt) => addRoute(rt, viaBr0('10.5.0.0/16', '10.1.2.1')),
  ],
  'ip route add default via 10.1.2.1 dev br0 metric 77 src 10.1.2.3 mtu 1400 advmss 1360 table 1000': [
    readers.route,
    (rt) =>
      addRoute(rt, {
        ...viaBr0('0.0.0.0/0', '10.1.2.1'),
        priority: 77,
        src: ip('10.1.2.3'),
        mtu: 1400,
        advmss: 1360,
        table: 1000,
      }),
  ],
  'ip route add 10.6.0.0/16 dev br0 scope link': [
    readers.route,
    (rt) => addRoute(rt, {dst: cidr('10.6.0.0/16'), ifindex: br0, scope: 253}),
  ],
  'ip route add 10.7.0.1/32 via 192.0.2.1 dev br0 onlink': [
    readers.route,
    (rt) => addRoute(rt, {...viaBr0('10.7.0.1/32', '192.0.2.1'), onlink: true}),
  ],
  'ip route add 10.8.0.0/16 nexthop via 10.1.2.7 dev br0 weight 3 nexthop via 10.1.2.8 dev br0': [
    readers.route,
    (rt) =>
      addRoute(rt, {
        dst: cidr('10.8.0.0/16'),
        multipath: [
          {gateway: ip('10.1.2.7'), ifindex: br0, weight: 3},
          {gateway: ip('10.1.2.8'), ifindex: br0},
        ],
      }),
  ],
  'ip route add fd00:5::/64 via fd00:1::1 dev br0': [
    readers.route,
    (rt) => addRoute(rt, viaBr0('fd00:5::/64', 'fd00:1::1')),
  ],
  'ip route del 10.5.0.0/16 via 10.1.2.1': [
    readers.route,
    (rt) => removeRoute(rt, {dst: cidr('10.5.0.0/16'), gateway: ip('10.1.2.1')}),
  ],
  'ip neigh replace 10.1.2.9 lladdr 02:00:00:00:00:99 dev br0 nud permanent': [
    readers.neighbour,
    (rt) => ensureNeighbour(rt, {ifindex: br0, ip: ip('10.1.2.9'), lladdr: mac('99')}),
  ],
  'bridge fdb append 00:00:00:00:00:00 dev veth0 master static': [
    readers.neighbour,
    (rt) =>
      addNeighbour(
        rt,
        {ifindex: veth0, bridge: true, lladdr: '00:00:00:00:00:00', state: 0x40 | 0x02, flags: 0x04},
        {append: true},
      ),
  ],
  'ip rule add from 10.1.2.0/24 iif br0 lookup 1000 priority 500': [
    readers.rule,
    (rt) => addRule(rt, {family: 4, src: cidr('10.1.2.0/24'), iif: 'br0', table: 1000, priority: 500}),
  ],
  'ip rule add fwmark 0x10/0xff lookup 100': [
    readers.rule,
    (rt) => addRule(rt, {family: 4, mark: 0x10, markMask: 0xff, table: 100}),
  ],
  [samples.vxlan.command]: [readers.link, (rt) => addLink(rt, {name: 'vx6', info: samples.vxlan.info})],
  'ip link add flannel.1 mtu 1200 address 02:00:00:00:00:20 type vxlan id 1 dev br0 local 10.1.2.3 dstport 8472 nolearning noproxy norsc nol2miss nol3miss udpcsum df inherit':
    [
      readers.link,
      (rt) =>
        addLink(rt, {
          name: 'flannel.1',
          mac: mac('20'),
          mtu: 1200,
          info: {
            kind: 'vxlan',
            data: {
              ...{id: 1, link: br0, local: ip('10.1.2.3'), port: 8472, learning: false, proxy: false},
              ...{rsc: false, l2miss: false, l3miss: false, udpChecksum: true, df: vxlanDf.inherit},
            },
          },
        }),
    ],
  [samples.wireguard.command]: [
    readers.link,
    (rt) => addLink(rt, {name: 'wg0', info: samples.wireguard.info}),
  ],
  'ip link set dev flannel.1 type vxlan id 1 local 10.1.2.4 learning': [
    readers.link,
    (rt) =>
      setLink(rt, flannel, {
        info: {kind: 'vxlan', data: {id: 1, local: ip('10.1.2.4'), learning: true}},
      }),
  ],
  'ip neigh replace 10.244.2.0 lladdr 02:00:00:00:00:21 dev flannel.1 nud permanent protocol 119': [
    readers.neighbour,
    (rt) => ensureNeighbour(rt, {...flannel, ip: ip('10.244.2.0'), lladdr: mac('21'), protocol: 119}),
  ],
  'ip neigh del 10.244.2.0 dev flannel.1': [
    readers.neighbour,
    (rt) => removeNeighbour(rt, {...flannel, ip: ip('10.244.2.0')}),
  ],
  'bridge fdb replace 02:00:00:00:00:21 dev flannel.1 dst 10.1.2.7 self permanent': [
    readers.neighbour,
    (rt) => ensureNeighbour(rt, {...farEnd, lladdr: mac('21')}),
  ],
  'bridge fdb append 00:00:00:00:00:00 dev flannel.1 dst 10.1.2.7 self permanent': [
    readers.neighbour,
    (rt) => addNeighbour(rt, {...farEnd, lladdr: '00:00:00:00:00:00'}, {append: true}),
  ],
  'bridge fdb del 00:00:00:00:00:00 dev flannel.1 dst 10.1.2.7': [
    readers.neighbour,
    (rt) => removeNeighbour(rt, {...farEnd, lladdr: '00:00:00:00:00:00'}),
  ],
  'ip route replace 10.244.2.0/24 via 10.244.2.0 dev flannel.1 onlink proto 119 mtu 1300': [
    readers.route,
    (rt) =>
      addRoute(
        rt,
        {
          dst: cidr('10.244.2.0/24'),
          gateway: ip('10.244.2.0'),
          ...flannel,
          onlink: true,
          protocol: 119,
          mtu: 1300,
        },
        {mode: 'replace'},
      ),
  ],
  'ip link del dev ifb9': [readers.link, (rt) => removeLink(rt, {ifindex: ifb9})],
};

/** Captured for their bytes alone: we have no function that says it the same way. */
const bytesOnly: readonly string[] = [
  'ip link set dev veth0 type bridge_slave hairpin on isolated off',
  'ip link set dev veth3 netns /proc/self/fd/9',
  'ip addr add 10.9.0.1 peer 10.9.0.2/32 dev br0',
];

for (const [command, [read, call]] of Object.entries(calls)) {
  test(`says what "${command}" says`, async (t) => {
    const rt = recordingNetlink();
    await call(rt);
    const expected = sentBy(command);
    t.is(rt.sent.length, 1);
    const sent = rt.sent[0]!;
    t.is(sent.type, expected.type);
    t.is(sent.flags, expected.flags);
    t.deepEqual(read(sent), read(expected));
  });
}

test('every captured request is compared', (t) => {
  t.deepEqual([...Object.keys(calls), ...bytesOnly].sort(), [...capturedCommands].sort());
});

test('a link goes into a namespace by descriptor', async (t) => {
  const rt = recordingNetlink();
  await setLink(rt, {ifindex: veth3}, {netnsFd: 9});
  const capture = sentBy('ip link set dev veth3 netns /proc/self/fd/9');
  t.is(sentNetns(rt.sent[0]!), 9);
  // ip opened the path itself: only its number differs.
  t.is(typeof sentNetns(capture), 'number');
});

function sentNetns({body}: CapturedMessage): number | undefined {
  return linkMessage.get(body, 0, body.length).attributes.netnsFd;
}

test('requests are named for error messages', async (t) => {
  const rt = recordingNetlink();
  await setLink(rt, {name: 'veth0'}, {master: 3, up: true});
  await addRoute(rt, viaBr0('0.0.0.0/0', '10.1.2.1'));
  await addAddress(rt, {...cidr('10.1.2.3/24'), ifindex: 1});
  t.deepEqual(
    rt.sent.map((message) => message.what),
    ['set master, up of veth0', 'add route 0.0.0.0/0 via 10.1.2.1', 'add address 10.1.2.3/24'],
  );
});

test('a broadcast address is computed below /31 only', async (t) => {
  for (const [text, expected] of [
    ['10.1.2.3/30', true],
    ['10.1.2.3/31', false],
    ['10.1.2.3/32', false],
    ['fd00::1/64', false],
  ] as const) {
    const rt = recordingNetlink();
    await addAddress(rt, {...cidr(text), ifindex: 1});
    const {body} = rt.sent[0]!;
    t.is(addressMessage.get(body, 0, body.length).attributes.broadcast !== undefined, expected, text);
  }
});
