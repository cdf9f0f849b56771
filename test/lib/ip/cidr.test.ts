import test from 'ava';
import {formatIp, parseIp} from '../../../lib/ip/address.ts';
import {
  containsIp,
  formatCidr,
  hostCidr,
  isDefault,
  lastOf,
  networkOf,
  overlap,
  parseCidr,
  sameCidr,
} from '../../../lib/ip/cidr.ts';

const cidr = (text: string) => parseCidr(text)!;

test('keeps the host bits', (t) => {
  for (const text of ['10.1.0.7/24', '0.0.0.0/0', '2001:db8::7/64', '::/0', '::1/128']) {
    t.is(formatCidr(cidr(text)), text);
  }
});

test('refuses what Go’s net.ParseCIDR refuses', (t) => {
  for (const text of [
    '',
    '10.1.0.7',
    '10.1.0.7/',
    '10.1.0.7/33',
    '10.1.0.7/-1',
    '10.1.0.7/024',
    '::/129',
    '/24',
    '10.1.0.7/24/1',
    '10.1/16',
  ]) {
    t.is(parseCidr(text), undefined, text);
  }
});

test('network and last address', (t) => {
  const ends = (text: string) => `${formatIp(networkOf(cidr(text)))} ${formatIp(lastOf(cidr(text)))}`;
  t.is(ends('10.1.2.130/25'), '10.1.2.128 10.1.2.255');
  t.is(ends('10.1.2.3/32'), '10.1.2.3 10.1.2.3');
  t.is(ends('10.1.2.3/0'), '0.0.0.0 255.255.255.255');
  t.is(ends('2001:db8::1234/112'), '2001:db8:: 2001:db8::ffff');
});

test('contains and overlaps', (t) => {
  t.true(containsIp(cidr('10.1.2.3/24'), parseIp('10.1.2.255')!));
  t.false(containsIp(cidr('10.1.2.3/24'), parseIp('10.1.3.0')!));
  t.false(containsIp(cidr('0.0.0.0/0'), parseIp('::1')!));
  t.true(overlap(cidr('10.0.0.0/8'), cidr('10.1.0.0/16')));
  t.true(overlap(cidr('10.1.0.0/16'), cidr('10.0.0.0/8')));
  t.false(overlap(cidr('10.0.0.0/16'), cidr('10.1.0.0/16')));
});

test('small helpers', (t) => {
  t.is(formatCidr(hostCidr(parseIp('10.0.0.1')!)), '10.0.0.1/32');
  t.is(formatCidr(hostCidr(parseIp('::1')!)), '::1/128');
  t.true(isDefault(cidr('::/0')));
  t.false(isDefault(cidr('0.0.0.1/0')));
  t.true(sameCidr(cidr('::1/64'), cidr('0::1/64')));
  t.false(sameCidr(cidr('::1/64'), cidr('::1/65')));
});
