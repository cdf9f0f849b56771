import test from 'ava';
import {formatRequest} from '../../../cli/doctor/echo.ts';

test('an echo request of IPv4 has the checksum of RFC 792', (t) => {
  const message = formatRequest({family: 4, identifier: 0x1234, sequence: 1, size: 10});
  t.is(message.toString('hex'), '0800e5ca123400010000');
  let sum = 0;
  for (let i = 0; i < message.length; i += 2) sum += message.readUInt16BE(i);
  t.is((sum & 0xffff) + (sum >>> 16), 0xffff);
});

test('an echo request of IPv6 leaves the checksum to the kernel', (t) => {
  t.is(formatRequest({family: 6, identifier: 1, sequence: 2, size: 8}).toString('hex'), '8000000000010002');
});
