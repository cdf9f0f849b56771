import {chmodSync, mkdtempSync, rmSync, writeFileSync} from 'node:fs';
import {tmpdir} from 'node:os';
import path from 'node:path';
import test from 'ava';
import {isNetnsNotFound, Netns} from '../../../lib/netns/netns.ts';
import {isNoSysctl, isSysctlReadOnly, sysctl, SysctlError} from '../../../lib/netns/sysctl.ts';

test('a path that is not there', (t) => {
  const error = t.throws(() => Netns.open('/run/netns/no such "one"'), {
    name: 'NetnsNotFoundError',
    message: 'failed to Statfs "/run/netns/no such \\"one\\"": no such file or directory',
  });
  t.true(isNetnsNotFound(error));
  t.true(isNetnsNotFound(t.throws(() => Netns.open(''))));
});

test('a path below a file is not "not found"', (t) => {
  const error = t.throws(() => Netns.open('/etc/passwd/net'), {
    message: 'failed to Statfs "/etc/passwd/net": not a directory',
  });
  t.false(isNetnsNotFound(error));
});

test('a file that is no namespace', (t) => {
  const folder = mkdtempSync(path.join(tmpdir(), 'weft-'));
  t.teardown(() => rmSync(folder, {recursive: true}));
  const file = path.join(folder, 'file');
  writeFileSync(file, '');
  chmodSync(file, 0o600);
  const error = t.throws(() => Netns.open(file));
  t.regex(error.message, /^unknown FS magic on ".*\/file": [0-9a-f]+$/);
  t.false(isNetnsNotFound(error));
});

test('the same namespace by two paths', (t) => {
  using a = Netns.open('/proc/self/ns/net');
  using b = Netns.current();
  t.true(a.sameAs(b));
  t.is(a.path, '/proc/self/ns/net');
});

test('a closed one is not used', (t) => {
  const netns = Netns.current();
  netns.close();
  netns.close();
  t.throws(() => netns.fd, {message: /is closed$/});
});

test('a sysctl that is not there', (t) => {
  const name = 'net/ipv4/conf/no.such/forwarding';
  for (const work of [
    () => sysctl.read(name),
    () => sysctl.write(name, '1'),
    () => sysctl.ensure(name, '1'),
  ]) {
    const error = t.throws(work, {message: `open /proc/sys/${name}: no such file or directory`});
    t.true(isNoSysctl(error));
    t.false(isSysctlReadOnly(error));
  }
});

test('which errors mean read-only', (t) => {
  for (const [errno, expected] of [
    [30, true],
    [13, true],
    [1, true],
    [22, false],
  ] as const) {
    t.is(
      isSysctlReadOnly(new SysctlError('write', Object.assign(new Error('x'), {errno: -errno}))),
      expected,
    );
  }
});
