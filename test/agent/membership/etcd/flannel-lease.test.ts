import test from 'ava';
import {
  formatLease,
  formatLeaseKey,
  parseLease,
  parseLeaseKey,
} from '../../../../agent/membership/etcd/flannel-lease.ts';
import {formatIp, parseIp} from '../../../../lib/ip/address.ts';
import {formatCidr, parseCidr} from '../../../../lib/ip/cidr.ts';

// Keys and values as flannel's own code makes them (Go's encoding/json of lease.LeaseAttrs; MakeSubnetKey).

const keys = [
  ['10.5.52.0-24', '10.5.52.0/24'],
  ['10.5.52.0-24&fd00:5:34::-64', '10.5.52.0/24 fd00:5:34::/64'],
  ['0.0.0.0-0&fd00:5:34::-64', 'fd00:5:34::/64'],
] as const;

for (const [key, subnets] of keys)
  test(`the key ${key}`, (t) => {
    t.is(parseLeaseKey(key)?.map(formatCidr).join(' '), subnets);
    t.is(formatLeaseKey(subnets.split(' ').map((text) => parseCidr(text)!)), key);
  });

for (const key of [
  '',
  'x',
  '10.5.52.0',
  '10.5.52.0-33',
  '10.5.52.1-24',
  '10.5.52.0-24&',
  '10.5.52.0-24&10.5.0.0-16',
  '0.0.0.0-0',
  '300.5.52.0-24',
  '10.5.52.0-24/more',
])
  test(`no key: ${JSON.stringify(key)}`, (t) => {
    t.is(parseLeaseKey(key), undefined);
  });

const four = {underlay: [parseIp('192.168.64.3')!], macs: {4: 'c6:d2:32:6f:8f:44'}};
const both = {
  underlay: [parseIp('192.168.64.3')!, parseIp('fd00::3')!],
  macs: {4: 'c6:d2:32:6f:8f:44', 6: 'c6:d2:32:6f:8f:66'},
};
const six = {underlay: [parseIp('fd00::3')!], macs: {6: 'c6:d2:32:6f:8f:66'}};

const values = [
  [
    'IPv4',
    four,
    '{"PublicIP":"192.168.64.3","PublicIPv6":null,"BackendType":"vxlan","BackendData":{"VNI":1,"VtepMAC":"c6:d2:32:6f:8f:44"}',
  ],
  [
    'both families',
    both,
    '{"PublicIP":"192.168.64.3","PublicIPv6":"fd00::3","BackendType":"vxlan","BackendData":{"VNI":1,"VtepMAC":"c6:d2:32:6f:8f:44"},"BackendV6Data":{"VNI":1,"VtepMAC":"c6:d2:32:6f:8f:66"}',
  ],
  [
    'IPv6',
    six,
    '{"PublicIP":"0.0.0.0","PublicIPv6":"fd00::3","BackendType":"vxlan","BackendV6Data":{"VNI":1,"VtepMAC":"c6:d2:32:6f:8f:66"}',
  ],
] as const;

for (const [title, self, value] of values)
  test(`the value of ${title}: flannel's bytes, and a field of our own at the end`, (t) => {
    t.is(formatLease(self, {vni: 1, id: 'node-a'}), `${value},"Weft":{"v":1,"id":"node-a"}}`);
    t.is(
      formatLease({...self, mtu: 1450}, {vni: 1, id: 'node-a'}),
      `${value},"Weft":{"v":1,"id":"node-a","mtu":1450}}`,
    );
    const theirs = parseLease(`${value}}`);
    t.is(theirs?.id, undefined);
    t.deepEqual(theirs?.macs, self.macs);
    t.deepEqual(theirs?.underlay.map(formatIp), self.underlay.map(formatIp));
    t.like(theirs, {backend: 'vxlan', vni: 1, mtu: undefined});
    t.like(parseLease(formatLease({...self, mtu: 1450}, {vni: 1, id: 'node-a'})), {id: 'node-a', mtu: 1450});
  });

test('a reservation, and what is no lease', (t) => {
  t.like(parseLease('{"PublicIP":"192.168.64.3"}'), {id: undefined, backend: '', macs: {}});
  for (const value of ['', 'null', '[]', '"x"', '{']) t.is(parseLease(value), undefined);
  t.deepEqual(parseLease('{"BackendData":null,"PublicIP":7,"Weft":"x"}')?.underlay, []);
});
