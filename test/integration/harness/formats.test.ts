import test from 'ava';
import {formatCpio} from '../../../integration/harness/cpio.ts';
import {parsePlan} from '../../../integration/harness/debian.ts';
import {formatNetwork} from '../../../integration/harness/drawing.ts';
import {makeRandom} from '../../../integration/harness/random.ts';
import {hasHit, parseTrace} from '../../../integration/harness/strace.ts';

test('packages and versions are read from the plan of apt-get', (t) => {
  const text = `'http://deb.debian.org/a/iputils-ping_1_amd64.deb' iputils-ping_3%3a20221126-1+deb12u1_amd64.deb 47172 MD5Sum:5f
'http://deb.debian.org/b/seabios_1_all.deb' seabios_1.16.2-1_all.deb 162656 MD5Sum:5f
`;
  t.deepEqual(parsePlan(text), [
    {name: 'iputils-ping', version: '3:20221126-1+deb12u1'},
    {name: 'seabios', version: '1.16.2-1'},
  ]);
});

test('a trace is read for what the first thread changes outside of the program', (t) => {
  const calls = parseTrace(`100 openat(AT_FDCWD</>, "/etc/ld.so.cache", O_RDONLY|O_CLOEXEC) = 3
100 write(5<anon_inode:[eventfd]>, "\\1\\0", 8) = 8
101 write(7</var/lib/cni/x>, "a", 1) = 1
100 write(7</var/lib/cni/x>, "a", 1) = 1
100 openat(AT_FDCWD</>, "/var/lib/cni/x", O_WRONLY|O_CREAT, 0600) = 4
`);
  t.deepEqual(
    calls.map(({name, nth}) => `${name} ${nth}`),
    ['write 2', 'openat 2'],
  );
});

test('a fault counts when it hit a change outside', (t) => {
  t.true(hasHit('100 unlink("/var/lib/cni/x") = -1 EIO (Input/output error) (INJECTED)'));
  t.false(hasHit('100 unlink("/var/lib/cni/x") = 0'));
  t.false(hasHit('100 write(5<anon_inode:[eventfd]>, "\\1", 8) = -1 EIO (Input/output error) (INJECTED)'));
});

test('an archive for the kernel is padded to four bytes throughout', (t) => {
  const archive = formatCpio([{name: 'init', mode: 0o100755, content: Buffer.from('abc')}]);
  t.is(archive.length % 4, 0);
  t.is(archive.subarray(0, 6).toString(), '070701');
  t.is(archive.subarray(110, 114).toString(), 'init');
  t.true(archive.includes('TRAILER!!!'));
});

test('random numbers follow from their seed', (t) => {
  const draw = (seed: number) => Array.from({length: 5}, makeRandom(seed).below.bind(undefined, 1000));
  t.deepEqual(draw(7), draw(7));
  t.notDeepEqual(draw(7), draw(8));
});

test('a network is drawn with its bridge, ports and containers', (t) => {
  const result = {
    interfaces: [
      {name: 'weft0', mac: '02:00:00:00:00:01'},
      {name: 'veth01234567'},
      {name: 'eth0', mac: '02:00:00:00:00:02', sandbox: '/run/netns/one'},
    ],
    ips: [{address: '10.90.0.2/24'}],
  };
  t.is(
    formatNetwork({name: 'weft0', lines: ['bridge weft0']}, [{name: 'one', result}]),
    `
┌─────────────────────────────┐
│ bridge weft0                │
│    │                        │
│    veth01234567             │
└────┬────────────────────────┘
     │
  ┌──┴──────────────────────┐
  │ container one           │
  │ eth0  02:00:00:00:00:02 │
  │ 10.90.0.2/24            │
  └─────────────────────────┘`.slice(1),
  );
});
