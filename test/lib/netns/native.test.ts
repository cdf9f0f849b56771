import {hash} from 'node:crypto';
import test from 'ava';
import {randomBytes, sha512} from '../../../lib/netns/native.ts';

test('SHA-512 is that of node:crypto', (t) => {
  for (const text of ['', 'abc', 'net: déjà vu', 'x'.repeat(1000)]) {
    t.is(sha512(text).toString('hex'), hash('sha512', text, 'hex'));
  }
});

test('random bytes are as many as asked for, and others each time', (t) => {
  t.is(randomBytes(0).length, 0);
  t.is(randomBytes(6).length, 6);
  const [one, other] = [randomBytes(600), randomBytes(600)];
  t.is(one.length, 600);
  t.notDeepEqual(one, other);
  // Not one of the three parts of 256 bytes stayed empty.
  for (const at of [0, 256, 512]) t.false(one.subarray(at, at + 32).every((byte) => byte === 0));
});
