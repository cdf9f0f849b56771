import test from 'ava';
import {macBytes, macFromBytes, parseMac} from '../../../lib/ip/mac.ts';

test('reads the three spellings of Go’s net.ParseMAC', (t) => {
  for (const text of ['02:00:5E:10:00:fF', '02-00-5e-10-00-ff', '0200.5e10.00ff'])
    t.is(parseMac(text), '02:00:5e:10:00:ff');
  for (const text of [
    '',
    '02:00:5e:10:00',
    '02:00-5e:10:00:ff',
    '2:0:5e:10:0:ff',
    '02005e1000ff',
    '02:00:5e:10:00:fg',
    '02:00:5e:10:00:ff:00:01',
  ]) {
    t.is(parseMac(text), undefined, text);
  }
});

test('to bytes and back', (t) => {
  t.is(macBytes('02:00:5e:10:00:ff').toString('hex'), '02005e1000ff');
  t.is(macFromBytes(Buffer.from('02005e1000ff', 'hex')), '02:00:5e:10:00:ff');
});
