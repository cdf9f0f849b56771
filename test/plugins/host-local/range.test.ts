import test from 'ava';
import {formatIp, parseIp} from '../../../lib/ip/address.ts';
import {parseCidr} from '../../../lib/ip/cidr.ts';
import {formatRangeSet, planRangeSets, sizeOf} from '../../../plugins/host-local/range.ts';

interface Text {
  readonly subnet?: string;
  readonly rangeStart?: string;
  readonly rangeEnd?: string;
  readonly gateway?: string;
}

const plan = (...sets: readonly (readonly Text[])[]) =>
  planRangeSets(
    sets.map((set) =>
      set.map(({subnet, rangeStart, rangeEnd, gateway}) => ({
        subnet: subnet === undefined ? undefined : parseCidr(subnet),
        rangeStart: rangeStart === undefined ? undefined : parseIp(rangeStart),
        rangeEnd: rangeEnd === undefined ? undefined : parseIp(rangeEnd),
        gateway: gateway === undefined ? undefined : parseIp(gateway),
      })),
    ),
  );

const planned = test.macro({
  exec(t, conf: Text, range: string, gateway: string, size: bigint) {
    const [set] = plan([conf]);
    t.is(formatRangeSet(set!), range);
    t.is(formatIp(set![0]!.gateway), gateway);
    t.is(sizeOf(set!), size);
  },
  title: (given, conf) => given ?? `completes ${JSON.stringify(conf)}`,
});

test(planned, {subnet: '192.0.2.0/24'}, '192.0.2.1-192.0.2.254', '192.0.2.1', 253n);
test(planned, {subnet: '192.0.2.4/30'}, '192.0.2.5-192.0.2.6', '192.0.2.5', 1n);
test(
  planned,
  {subnet: '192.0.2.0/24', rangeStart: '192.0.2.20'},
  '192.0.2.20-192.0.2.254',
  '192.0.2.1',
  235n,
);
test(planned, {subnet: '192.0.2.0/24', rangeEnd: '192.0.2.9'}, '192.0.2.1-192.0.2.9', '192.0.2.1', 8n);
test(planned, {subnet: '192.0.2.0/24', gateway: '192.0.2.9'}, '192.0.2.1-192.0.2.254', '192.0.2.9', 253n);
test(
  'a gateway may lie outside of the subnet',
  planned,
  {subnet: '192.0.2.0/24', gateway: '198.51.100.1'},
  '192.0.2.1-192.0.2.254',
  '198.51.100.1',
  254n,
);
test(
  planned,
  {subnet: '2001:db8::/64'},
  '2001:db8::1-2001:db8::ffff:ffff:ffff:ffff',
  '2001:db8::1',
  2n ** 64n - 2n,
);
test(planned, {subnet: '2001:db8::/126'}, '2001:db8::1-2001:db8::3', '2001:db8::1', 2n);
test(planned, {subnet: '0.0.0.0/0'}, '0.0.0.1-255.255.255.254', '0.0.0.1', 2n ** 32n - 3n);

const refused = test.macro({
  exec(t, sets: readonly (readonly Text[])[], message: string) {
    t.is(t.throws(() => plan(...sets))?.message, message);
  },
  title: (given, _sets, message: string) => given ?? `refuses: ${message}`,
});

test(refused, [[]], 'invalid range set 0: empty range set');
test(refused, [[{}]], 'invalid range set 0: IP <nil> not v4 nor v6');
test(
  refused,
  [[{subnet: '192.0.2.0/31'}]],
  'invalid range set 0: Network 192.0.2.0/31 too small to allocate from',
);
test(
  refused,
  [[{subnet: '2001:db8::/127'}]],
  'invalid range set 0: Network 2001:db8::/127 too small to allocate from',
);
test(
  refused,
  [[{subnet: '192.0.2.5/24'}]],
  'invalid range set 0: Network has host bits set. For a subnet mask of length 24 the network address is 192.0.2.0',
);
test(
  refused,
  [[{subnet: '192.0.2.0/24', rangeStart: '192.0.3.1'}]],
  'invalid range set 0: RangeStart 192.0.3.1 not in network 192.0.2.0/24',
);
test(
  refused,
  [[{subnet: '192.0.2.0/24', rangeEnd: '192.0.3.1'}]],
  'invalid range set 0: RangeEnd 192.0.3.1 not in network 192.0.2.0/24',
);
test(
  'refuses an end before the start',
  refused,
  [[{subnet: '192.0.2.0/24', rangeStart: '192.0.2.9', rangeEnd: '192.0.2.8'}]],
  'invalid range set 0: RangeStart 192.0.2.9 not in network 192.0.2.0/24',
);
test(
  'refuses an end of the other family',
  refused,
  [[{subnet: '192.0.2.0/24', rangeEnd: '2001:db8::1'}]],
  'invalid range set 0: RangeEnd 2001:db8::1 not in network 192.0.2.0/24',
);
test(
  refused,
  [[{subnet: '192.0.2.0/24'}], [{subnet: '198.51.100.0/24'}, {subnet: '2001:db8::/64'}]],
  'invalid range set 1: mixed address families',
);
test(
  refused,
  [[{subnet: '192.0.2.0/24'}, {subnet: '192.0.2.128/25'}]],
  'invalid range set 0: subnets 192.0.2.1-192.0.2.254 and 192.0.2.129-192.0.2.254 overlap',
);
test(
  refused,
  [[{subnet: '192.0.2.0/24'}], [{subnet: '198.51.100.0/24'}], [{subnet: '192.0.2.128/25'}]],
  'range set 0 overlaps with 2',
);

test('two parts of one subnet do not overlap', (t) => {
  const [set] = plan([
    {subnet: '192.0.2.0/24', rangeStart: '192.0.2.10', rangeEnd: '192.0.2.19'},
    {subnet: '192.0.2.0/24', rangeStart: '192.0.2.20', rangeEnd: '192.0.2.29'},
  ]);
  t.is(formatRangeSet(set!), '192.0.2.10-192.0.2.19,192.0.2.20-192.0.2.29');
  t.is(sizeOf(set!), 20n);
});
