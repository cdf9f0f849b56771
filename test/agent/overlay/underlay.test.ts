import test from 'ava';
import {
  chooseUnderlay,
  sameUnderlay,
  type UnderlayChoice,
  type UnderlayFacts,
} from '../../../agent/overlay/underlay.ts';
import {formatIp, parseIp} from '../../../lib/ip/address.ts';
import {parseCidr} from '../../../lib/ip/cidr.ts';
import type {Address} from '../../../lib/netlink/route/address.ts';
import type {Link} from '../../../lib/netlink/route/link.ts';
import type {Route} from '../../../lib/netlink/route/route.ts';

const link = (ifindex: number, name: string, more: Partial<Link> = {}) =>
  ({ifindex, name, mtu: 1500, up: true, ...more}) as Link;
const address = (ifindex: number, text: string, more: Partial<Address> = {}) =>
  ({
    ...parseCidr(text)!,
    ifindex,
    scope: 0,
    flags: 0,
    tentative: false,
    dadFailed: false,
    ...more,
  }) as Address;
const byDefault = (ifindex: number, priority = 0, dst = '0.0.0.0/0') =>
  ({dst: parseCidr(dst)!, ifindex, priority}) as Route;

const facts: UnderlayFacts = {
  links: [link(1, 'lo'), link(2, 'eth0'), link(3, 'eth1', {mtu: 9000}), link(4, 'wg0', {up: false})],
  addresses: [
    address(1, '127.0.0.1/8', {scope: 254}),
    address(2, '10.0.2.15/24'),
    address(3, '192.168.50.11/24'),
    address(3, '192.168.50.12/24'),
    address(3, 'fe80::1/64', {scope: 253}),
    address(3, 'fd00:50::bad/64', {tentative: true}),
    address(3, 'fd00:50::7/64', {flags: 0x01}),
    address(3, 'fd00:50::11/64'),
  ],
  routes: [byDefault(3, 100), byDefault(2, 50), byDefault(3, 1, '::/0')],
};

function choose(choice: UnderlayChoice, more: Partial<UnderlayFacts> = {}): string {
  const found = chooseUnderlay({...facts, ...more}, choice);
  return typeof found === 'string' ? found : `${found.name} ${found.addresses.map(formatIp).join(' ')}`;
}

test('by default the interface of the best default route, IPv4 first', (t) => {
  t.is(choose({}), 'eth0 10.0.2.15');
  t.is(choose({}, {routes: [byDefault(3, 1, '::/0')]}), 'eth1 192.168.50.11 fd00:50::11');
  t.is(choose({}, {routes: []}), 'there is no default route; name the interface in "underlay"');
});

test('an address or a range before a name before a pattern before a destination', (t) => {
  const eth1 = 'eth1 192.168.50.12 fd00:50::11';
  const all = {
    address: parseCidr('192.168.50.12/32')!,
    interface: 'lo',
    interfacePattern: 'wg.*',
    canReach: parseIp('1.1.1.1'),
  };
  t.is(choose(all), eth1);
  t.is(choose({address: parseCidr('192.168.50.0/24')!}), 'eth1 192.168.50.11 fd00:50::11');
  t.is(choose({interface: 'eth1'}), 'eth1 192.168.50.11 fd00:50::11');
  t.is(choose({interfacePattern: 'eth\\d'}), 'eth0 10.0.2.15');
  t.is(choose({interfacePattern: 'wg0|eth1'}), 'eth1 192.168.50.11 fd00:50::11');
  t.is(choose({canReach: parseIp('192.168.60.1')}, {reachIfindex: 3}), 'eth1 192.168.50.11 fd00:50::11');
});

test('what is not there is said', (t) => {
  t.is(choose({address: parseCidr('172.16.0.0/12')!}), 'no interface has the address 172.16.0.0/12');
  t.is(choose({interface: 'eth7'}), 'there is no interface eth7');
  t.is(choose({interfacePattern: 'bond.*'}), "no interface's name matches bond.*");
  t.is(choose({canReach: parseIp('203.0.113.1')}), 'no route leads to 203.0.113.1');
  t.is(choose({interface: 'wg0'}), 'wg0 has no address that peers could reach');
});

test('an address that peers know stays while it is there', (t) => {
  const before = chooseUnderlay(facts, {address: parseCidr('192.168.50.12/32')!});
  if (typeof before === 'string') return t.fail(before);
  const after = chooseUnderlay(facts, {interface: 'eth1'}, before);
  t.true(typeof after !== 'string' && sameUnderlay(before, after));
  const without = {...facts, addresses: facts.addresses.filter(({ip}) => formatIp(ip) !== '192.168.50.12')};
  const moved = chooseUnderlay(without, {interface: 'eth1'}, before);
  t.true(
    typeof moved !== 'string' &&
      !sameUnderlay(before, moved) &&
      formatIp(moved.addresses[0]!) === '192.168.50.11',
  );
});
