import test from 'ava';
import {formatIp} from '../../../lib/ip/address.ts';
import {formatCidr} from '../../../lib/ip/cidr.ts';
import {parseStaticNetwork} from '../../../lib/overlay/static-file.ts';

const source = {name: 'pods', source: '/etc/weft/pods.json'};

const a = {name: 'a', publicIP: '192.0.2.1', subnets: ['10.244.1.0/24']};
const b = {name: 'b', publicIP: '192.0.2.2', subnets: ['10.244.2.0/24']};
const whole = {network: '10.244.0.0/16', nodes: [a, b]};

const parse = (json: unknown) => parseStaticNetwork(JSON.stringify(json), source);

test('the smallest description: defaults are those of flannel', (t) => {
  const {network, members} = parse(whole);
  t.like(network, {name: 'pods', form: 'routed', vni: 1, port: 8472, directRouting: false});
  t.deepEqual(network.ranges.map(formatCidr), ['10.244.0.0/16']);
  t.deepEqual(
    members.map(({id, underlay, subnets}) => [id, underlay.map(formatIp), subnets.map(formatCidr)]),
    [
      ['a', ['192.0.2.1'], ['10.244.1.0/24']],
      ['b', ['192.0.2.2'], ['10.244.2.0/24']],
    ],
  );
});

test('a hardware address that is not given is derived: the same on every host, another for every host and VNI', (t) => {
  const macs = parse(whole).members.map((member) => member.macs[4]);
  t.deepEqual(macs, ['22:71:26:42:d4:75', '1e:a9:cc:48:9e:99']);
  t.not(parse({...whole, vni: 2}).members[0]?.macs[4], macs[0]);
  t.is(parse({...whole, nodes: [{...a, mac: '02-00-00-00-00-01'}]}).members[0]?.macs[4], '02:00:00:00:00:01');
});

test('two families, and an underlay of IPv6 alone', (t) => {
  const {network, members} = parse({
    network: ['10.244.0.0/16', 'fd00:10:244::/56'],
    vni: 4096,
    port: 4789,
    directRouting: true,
    nodes: [
      {name: 'a', publicIPv6: '2001:db8::1', subnets: ['10.244.1.0/24', 'fd00:10:244:1::/64'], mtu: 1430},
      {name: 'b', publicIP: '192.0.2.2', publicIPv6: '2001:db8::2', subnets: ['fd00:10:244:2::/64']},
    ],
  });
  t.like(network, {vni: 4096, port: 4789, directRouting: true});
  t.deepEqual(Object.keys(members[0]!.macs), ['6']);
  t.is(members[0]?.mtu, 1430);
  t.deepEqual(Object.keys(members[1]!.macs), ['4', '6']);
});

test('l2: endpoints with their addresses', (t) => {
  const {members} = parse({
    network: '10.9.0.0/24',
    form: 'l2',
    nodes: [{...a, subnets: [], endpoints: [{ips: ['10.9.0.7'], mac: '02:42:0a:09:00:07'}]}],
  });
  t.deepEqual(
    members[0]?.endpoints?.map(({ips, mac}) => [ips.map(formatIp), mac]),
    [[['10.9.0.7'], '02:42:0a:09:00:07']],
  );
});

const refused: readonly (readonly [string, unknown, string])[] = [
  ['no network', {nodes: [a]}, 'network: undefined is not a range; write it as "10.244.0.0/16"'],
  ['a network that is none', {...whole, network: '10.244'}, 'network: "10.244" is not a range'],
  [
    'host bits',
    {...whole, network: '10.244.1.0/16'},
    'network[0]: 10.244.1.0/16 has host bits set; write 10.244.0.0/16',
  ],
  [
    'two ranges of a family',
    {...whole, network: ['10.244.0.0/16', '10.1.0.0/16']},
    'network[1]: 10.1.0.0/16 is the second of IPv4',
  ],
  ['a VNI too large', {...whole, vni: 16_777_216}, 'vni: expected at most 16777215, found 16777216'],
  ['a port that is a text', {...whole, port: '8472'}, 'port: expected a number, found "8472"'],
  ['an unknown form', {...whole, form: 'l3'}, 'form: expected one of "routed", "l2", found "l3"'],
  [
    'a misspelt key',
    {...whole, nodes: [{...a, subnet: '10.244.1.0/24'}]},
    'nodes[0].subnet: "subnet" is not a key here; known are name,',
  ],
  ['no nodes', {...whole, nodes: []}, 'nodes: no node; list every host of the network'],
  ['no address', {...whole, nodes: [{name: 'a', subnets: ['10.244.1.0/24']}]}, 'nodes[0]: a has no address'],
  ['no subnet', {...whole, nodes: [{...a, subnets: []}]}, 'nodes[0].subnets: a has no subnet'],
  [
    'an invalid subnet',
    {...whole, nodes: [{...a, subnets: ['10.244.1.0']}]},
    'nodes[0].subnets[0]: invalid CIDR address: 10.244.1.0',
  ],
  [
    'a subnet outside',
    {...whole, nodes: [{...a, subnets: ['10.243.1.0/24']}]},
    'nodes[0].subnets[0]: 10.243.1.0/24 is outside the network 10.244.0.0/16',
  ],
  [
    'a subnet larger than the network',
    {...whole, nodes: [{...a, subnets: ['10.244.0.0/15']}]},
    'nodes[0].subnets[0]: 10.244.0.0/15 is outside',
  ],
  [
    'an IPv6 address as publicIP',
    {...whole, nodes: [{...a, publicIP: '2001:db8::1'}]},
    'nodes[0].publicIP: 2001:db8::1 is not an IPv4 address',
  ],
  [
    'a loopback address',
    {...whole, nodes: [{...a, publicIP: '127.0.0.1'}]},
    'nodes[0].publicIP: 127.0.0.1 cannot be the address of a host',
  ],
  [
    'a multicast hardware address',
    {...whole, nodes: [{...a, mac: '01:00:5e:00:00:01'}]},
    'nodes[0].mac: 01:00:5e:00:00:01 cannot be',
  ],
  [
    'a name twice',
    {...whole, nodes: [a, {...b, name: 'a'}]},
    'nodes[1].name: a is also the name of nodes[0] (a)',
  ],
  [
    'an address twice',
    {...whole, nodes: [a, {...b, publicIP: a.publicIP}]},
    'nodes[1].publicIP: 192.0.2.1 is also the address of nodes[0] (a)',
  ],
  [
    'a hardware address twice',
    {
      ...whole,
      nodes: [
        {...a, mac: '02:00:00:00:00:01'},
        {...b, mac: '02:00:00:00:00:01'},
      ],
    },
    'nodes[1].mac: 02:00:00:00:00:01 is also',
  ],
  [
    'subnets that overlap',
    {...whole, nodes: [a, {...b, subnets: ['10.244.0.0/20']}]},
    'nodes[1].subnets[0]: 10.244.0.0/20 overlaps 10.244.1.0/24 of nodes[0] (a)',
  ],
  [
    'subnets that overlap, in the other order',
    {...whole, nodes: [{...b, subnets: ['10.244.0.0/20']}, a]},
    'nodes[1].subnets[0]: 10.244.1.0/24 overlaps 10.244.0.0/20 of nodes[0] (b)',
  ],
  [
    'an endpoint outside',
    {...whole, nodes: [{...a, endpoints: [{ips: ['10.0.0.1'], mac: '02:00:00:00:00:01'}]}]},
    'nodes[0].endpoints[0].ips: 10.0.0.1/32 is outside the network',
  ],
  [
    'an endpoint without a hardware address',
    {...whole, nodes: [{...a, endpoints: [{ips: ['10.244.1.2'], mac: ''}]}]},
    'nodes[0].endpoints[0].mac: no hardware address',
  ],
];

for (const [title, json, message] of refused)
  test(`refused: ${title}`, (t) => {
    const error = t.throws(() => parse(json));
    t.true(error.message.startsWith(`/etc/weft/pods.json: ${message}`), error.message);
  });

test('a text that is cut off says so', (t) => {
  t.throws(() => parseStaticNetwork('{"network": "10.244.0.0/16"', source), {
    message: /^\/etc\/weft\/pods\.json is not JSON: .*; mend it/,
  });
});

test('thousands of hosts are compared with each other in no time to speak of', (t) => {
  const nodes = Array.from({length: 5000}, (_, i) => ({
    name: `node-${i}`,
    publicIP: `192.${i >> 8}.0.${i & 255}`.replace('192.0.0.0', '192.99.0.1'),
    subnets: [`10.${i >> 8}.${i & 255}.0/24`],
  }));
  t.is(parse({network: '10.0.0.0/8', nodes}).members.length, 5000);
});
