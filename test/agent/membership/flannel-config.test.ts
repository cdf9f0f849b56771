import test from 'ava';
import {parseFlannelConfig} from '../../../agent/membership/flannel-config.ts';
import {formatIp, ipFromValue} from '../../../lib/ip/address.ts';
import {formatCidr} from '../../../lib/ip/cidr.ts';

const parse = (json: unknown) => parseFlannelConfig(JSON.stringify(json), '/coreos.com/network/config');
const divisions = (json: unknown) =>
  parse(json).divisions.map(({range, length, first, last}) => {
    const family = range.ip.value > 0xffff_ffffn ? 6 : 4;
    return `${formatCidr(range)} /${length} ${formatIp(ipFromValue(family, first))} ${formatIp(ipFromValue(family, last))}`;
  });

// flannel's defaults (pkg/subnet/config.go): the first subnet is left out.
const divided = [
  [{Network: '10.5.0.0/16'}, ['10.5.0.0/16 /24 10.5.1.0 10.5.255.0']],
  [{network: '10.5.0.0/22'}, ['10.5.0.0/22 /24 10.5.1.0 10.5.3.0']],
  [{Network: '10.5.0.0/24'}, ['10.5.0.0/24 /26 10.5.0.64 10.5.0.192']],
  [{Network: '10.5.0.0/28'}, ['10.5.0.0/28 /30 10.5.0.4 10.5.0.12']],
  [
    {Network: '10.5.0.0/16', SubnetLen: 28, SubnetMin: '10.5.10.0', SubnetMax: '10.5.20.240'},
    ['10.5.0.0/16 /28 10.5.10.0 10.5.20.240'],
  ],
  [
    {Network: '10.5.0.0/16', EnableIPv6: true, IPv6Network: 'fd00:5::/48'},
    ['10.5.0.0/16 /24 10.5.1.0 10.5.255.0', 'fd00:5::/48 /64 fd00:5:0:1:: fd00:5:0:ffff::'],
  ],
  [
    {EnableIPv4: false, EnableIPv6: true, IPv6Network: 'fd00:5::/64'},
    ['fd00:5::/64 /66 fd00:5:0:0:4000:: fd00:5:0:0:c000::'],
  ],
] as const;

for (const [json, wanted] of divided)
  test(`divides ${JSON.stringify(json)}`, (t) => {
    t.deepEqual(divisions(json), [...wanted]);
  });

test('the backend: what is not given is as flannel has it', (t) => {
  t.like(parse({Network: '10.5.0.0/16'}), {vni: 1, port: 8472, directRouting: false});
  t.like(
    parse({
      Network: '10.5.0.0/16',
      Backend: {Type: 'VXLAN', VNI: 7, Port: 4789, DirectRouting: true, GBP: false},
    }),
    {
      vni: 7,
      port: 4789,
      directRouting: true,
    },
  );
});

const refused = [
  [{}, 'Network: "" is not a range of IPv4; write it as "10.244.0.0/16"'],
  [{Network: 'fd00::/48'}, 'Network: "fd00::/48" is not a range of IPv4'],
  [{Network: '10.5.0.0/29'}, 'Network: /29 is too small; /28 is the least'],
  [{Network: '10.5.0.0/16', SubnetLen: 31}, 'SubnetLen: 31 leaves no addresses; at most 30'],
  [
    {Network: '10.5.0.0/16', SubnetLen: 17},
    'SubnetLen: 17 divides /16 into fewer than four subnets; at least 18',
  ],
  [{Network: '10.5.0.0/16', SubnetMin: '10.6.0.0'}, 'SubnetMin: 10.6.0.0 is not in the range of 10.5.0.0/16'],
  [
    {Network: '10.5.0.0/16', SubnetMin: '10.5.10.1'},
    'SubnetMin: 10.5.10.1 is not on a boundary of /24; write 10.5.10.0',
  ],
  [
    {Network: '10.5.0.0/16', SubnetMin: '10.5.9.0', SubnetMax: '10.5.8.0'},
    'SubnetMin: 10.5.9.0 lies after SubnetMax',
  ],
  [{EnableIPv4: false}, 'neither EnableIPv4 nor EnableIPv6 is true'],
  [{Network: '10.5.0.0/16', EnableIPv6: true}, 'IPv6Network: "" is not a range of IPv6'],
  [
    {Network: '10.5.0.0/16', Backend: {Type: 'udp'}},
    'Backend.Type: "udp" is not what this overlay is made of; write "vxlan"',
  ],
  [{Network: '10.5.0.0/16', Backend: {VNI: 0}}, 'Backend.VNI: expected at least 1, found 0'],
] as const;

for (const [json, message] of refused)
  test(`refused: ${JSON.stringify(json)}`, (t) => {
    const error = t.throws(() => parse(json));
    t.true(error.message.startsWith(`/coreos.com/network/config: ${message}`), error.message);
  });

test('a text that is no JSON', (t) => {
  t.throws(() => parseFlannelConfig('10.5.0.0/16', 'config'), {
    message: /^config: is not JSON: .*; write \{"Network"/,
  });
});
