import test from 'ava';
import {familyOf, formatIp, ipBytes, ipFromBytes, parseIp, sameIp} from '../../../lib/ip/address.ts';

const reads = test.macro((t, text: string, expected: string | undefined) => {
  const ip = parseIp(text);
  t.is(ip && formatIp(ip), expected);
});

// What Go's net.ParseIP takes, and how it prints it (RFC 5952).
for (const [text, expected] of [
  ['192.0.2.1', '192.0.2.1'],
  ['0.0.0.0', '0.0.0.0'],
  ['255.255.255.255', '255.255.255.255'],
  ['::', '::'],
  ['::1', '::1'],
  ['1::', '1::'],
  ['2001:DB8::00a1', '2001:db8::a1'],
  ['2001:db8:0:0:1:0:0:1', '2001:db8::1:0:0:1'],
  ['2001:db8:0:1:1:1:1:1', '2001:db8:0:1:1:1:1:1'],
  ['2001:0:0:1:0:0:0:1', '2001:0:0:1::1'],
  ['::ffff:192.0.2.1', '192.0.2.1'],
  ['::ffff:c000:201', '192.0.2.1'],
  ['64:ff9b::192.0.2.33', '64:ff9b::c000:221'],
  ['1:2:3:4:5:6:7::', '1:2:3:4:5:6:7:0'],
] as const) {
  test(`reads ${text}`, reads, text, expected);
}

for (const text of [
  '',
  '192.0.2',
  '192.0.2.256',
  '192.0.2.01',
  '192.0.2.1 ',
  '192.0.2.1.1',
  '0x7f.0.0.1',
  ':',
  ':::',
  '1::2::3',
  '1:2:3:4:5:6:7',
  '1:2:3:4:5:6:7:8:9',
  '1:2:3:4:5:6:7:8::',
  '12345::',
  'g::',
  'fe80::1%eth0',
  '1.2.3.4::',
  '::1.2.3.4:5',
  '1::1.2.3',
]) {
  test(`refuses "${text}"`, reads, text, undefined);
}

test('bytes are in network order, and a mapped address stays IPv6', (t) => {
  t.is(ipBytes(parseIp('192.0.2.1')!).toString('hex'), 'c0000201');
  t.is(ipBytes(parseIp('2001:db8::1')!).toString('hex'), '20010db8000000000000000000000001');
  const mapped = Buffer.from('00000000000000000000ffffc0000201', 'hex');
  t.is(familyOf(ipFromBytes(mapped)), 6);
  t.is(formatIp(ipFromBytes(ipBytes(parseIp('10.0.0.1')!))), '10.0.0.1');
  t.throws(() => ipFromBytes(Buffer.alloc(5)), {message: 'an address has 4 or 16 bytes, not 5'});
});

test('addresses of different families are never the same', (t) => {
  t.true(sameIp(parseIp('::1'), parseIp('0:0::1')));
  t.false(sameIp(parseIp('0.0.0.1'), parseIp('::1')));
  t.false(sameIp(undefined, parseIp('::1')));
  t.true(sameIp(undefined, undefined));
});
