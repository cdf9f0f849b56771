import test from 'ava';
import {formatIp} from '../../../../lib/ip/address.ts';
import {formatCidr} from '../../../../lib/ip/cidr.ts';
import {listAddresses} from '../../../../lib/netlink/route/address.ts';
import {getLink} from '../../../../lib/netlink/route/link.ts';
import {listNeighbours} from '../../../../lib/netlink/route/neighbour.ts';
import {listRoutes} from '../../../../lib/netlink/route/route.ts';
import {listRules} from '../../../../lib/netlink/route/rule.ts';
import {rtm} from '../../../../lib/netlink/route/socket.ts';
import {answersTo} from '../../../helpers/captures.ts';
import {recordingNetlink} from '../../../helpers/recording-netlink.ts';

/** A socket that answers what the kernel answered to a command. */
function answering(command: string, type: number) {
  const rt = recordingNetlink();
  rt.answers = answersTo(command).filter((message) => message.type === type);
  return rt;
}

test('a bridge port', async (t) => {
  const link = await getLink(answering('ip -d link show dev veth0', rtm.newLink), {name: 'veth0'});
  t.like(link, {
    name: 'veth0',
    mac: '02:00:00:00:00:10',
    mtu: 1280,
    up: true,
    promisc: true,
    allMulti: true,
    txQueueLength: 500,
    alias: 'a port',
    group: 0,
    info: {kind: 'veth'},
    port: {kind: 'bridge', bridgePort: {hairpin: true, isolated: false, learning: true}},
  });
  t.true(link.ifindex > 0 && link.master! > 0 && link.link! > 0);
  t.is(link.linkNetnsId, undefined);
});

test('a bridge', async (t) => {
  const link = await getLink(answering('ip -d link show dev br0', rtm.newLink), {name: 'br0'});
  t.like(link, {name: 'br0', up: true, promisc: false, master: undefined, link: undefined, port: undefined});
  t.is(link.info?.kind, 'bridge');
  t.is(link.info?.kind === 'bridge' && link.info.data?.forwardDelay, 1500);
});

test('a vxlan device', async (t) => {
  const link = await getLink(answering('ip -d link show dev flannel.1', rtm.newLink), {name: 'flannel.1'});
  t.like(link, {name: 'flannel.1', mac: '02:00:00:00:00:20', mtu: 1200, up: true});
  t.is(link.info?.kind, 'vxlan');
  const data = link.info?.kind === 'vxlan' ? link.info.data : undefined;
  t.like(data, {id: 1, port: 8472, learning: true, proxy: false, gbp: undefined, df: 2, udpChecksum: true});
  t.is(formatIp(data!.local!), '10.1.2.4');
  t.true(data!.link! > 0);
});

test('addresses', async (t) => {
  const addresses = await listAddresses(answering('ip addr show dev br0', rtm.newAddr));
  const seen = addresses.map((address) => ({
    text: formatCidr(address),
    peer: address.peer && formatIp(address.peer),
    broadcast: address.broadcast && formatIp(address.broadcast),
    scope: address.scope,
  }));
  const byText = new Map(seen.map((address) => [address.text, address]));
  t.like(byText.get('10.1.2.3/24'), {peer: undefined, broadcast: '10.1.2.255', scope: 0});
  t.like(byText.get('10.9.0.1/32'), {peer: '10.9.0.2', broadcast: undefined, scope: 0});
  t.like(byText.get('fd00:1::3/64'), {peer: undefined, broadcast: undefined, scope: 0});
});

test('routes of the main table', async (t) => {
  const routes = await listRoutes(answering('ip route show table all', rtm.newRoute), {family: 4});
  const hop = routes.find((route) => formatCidr(route.dst) === '10.7.0.1/32');
  t.like(hop, {onlink: true, table: 254, scope: 0});
  const several = routes.find((route) => formatCidr(route.dst) === '10.8.0.0/16');
  t.deepEqual(
    several?.multipath?.map(({gateway, weight}) => [formatIp(gateway!), weight]),
    [
      ['10.1.2.7', 3],
      ['10.1.2.8', 1],
    ],
  );
});

test('a route with metrics, of another table', async (t) => {
  const [route] = await listRoutes(answering('ip route show table all', rtm.newRoute), {table: 1000});
  t.is(formatCidr(route!.dst), '0.0.0.0/0');
  t.like(route, {priority: 77, mtu: 1400, advmss: 1360, table: 1000, protocol: 3});
  t.is(formatIp(route!.src!), '10.1.2.3');
});

test('rules', async (t) => {
  const rules = await listRules(answering('ip rule show', rtm.newRule), {family: 4});
  const [added] = rules.filter((rule) => rule.priority === 500);
  t.is(formatCidr(added!.src!), '10.1.2.0/24');
  t.like(added, {table: 1000, iif: 'br0', mark: undefined});
  t.like(
    rules.find((rule) => rule.table === 100),
    {mark: 0x10, markMask: 0xff},
  );
  t.deepEqual(
    rules.filter((rule) => rule.table >= 253 && rule.table <= 255).map((rule) => rule.table),
    [255, 254, 253],
  );
});

test('neighbours', async (t) => {
  const entries = await listNeighbours(answering('ip neigh show dev br0', rtm.newNeigh));
  const [entry] = entries.filter(({ip}) => ip && formatIp(ip) === '10.1.2.9');
  t.like(entry, {lladdr: '02:00:00:00:00:99', state: 0x80, bridge: false});
});
