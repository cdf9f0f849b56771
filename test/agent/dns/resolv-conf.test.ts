import {mkdtempSync, renameSync, rmSync, writeFileSync} from 'node:fs';
import {tmpdir} from 'node:os';
import {join} from 'node:path';
import {setTimeout as sleep} from 'node:timers/promises';
import test from 'ava';
import {followResolvConf, parseNameservers} from '../../../agent/dns/resolv-conf.ts';

test('servers are read in order; what is none is left out', (t) => {
  const text =
    'search a\n# nameserver 192.0.2.9\n nameserver 192.0.2.1 # first\nnameserver x\nnameserver fe80::1%eth0\nnameserver 2001:DB8::1';
  t.deepEqual(
    parseNameservers(text).map(({address}) => address),
    ['192.0.2.1', 'fe80::1%eth0', '2001:db8::1'],
  );
});

test('a file that is replaced, gone or empty is followed', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'weft-resolv-'));
  t.teardown(() => rmSync(folder, {recursive: true}));
  const path = join(folder, 'resolv.conf');
  writeFileSync(path, 'nameserver 192.0.2.1\n');
  let changes = 0;
  const followed = followResolvConf(path, {pollMs: 20, onChange: () => changes++});
  t.teardown(() => followed.close());
  const until = async (address: string) => {
    while (followed.upstreams[0]?.address !== address) await sleep(5);
  };
  await until('192.0.2.1');
  writeFileSync(`${path}.new`, 'nameserver 192.0.2.2\n');
  renameSync(`${path}.new`, path);
  await until('192.0.2.2');
  writeFileSync(path, '');
  rmSync(path);
  await sleep(60);
  t.is(followed.upstreams[0]?.address, '192.0.2.2');
  writeFileSync(path, 'nameserver 192.0.2.3\n');
  await until('192.0.2.3');
  t.is(changes, 3);
});
