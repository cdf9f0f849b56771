import {statSync} from 'node:fs';
import {keepOpen} from '../lib/netns/kept-sysctl.ts';
import {keepHome} from '../lib/netns/netns.ts';
import {sysctl} from '../lib/netns/sysctl.ts';
import {makeNamespace} from './harness/namespace.ts';
import {testWith} from './harness/needs.ts';

const test = testWith('root');
const here = () => statSync('/proc/thread-self/ns/net', {bigint: true}).ino;

test('a process that keeps its home returns there, and from within another namespace to that', async (t) => {
  const [a, b] = await Promise.all([makeNamespace(t), makeNamespace(t)]);
  const home = here();
  keepHome();
  const inode = (netns: typeof a.netns) => netns.run(here);
  const [inA, inB] = [inode(a.netns), inode(b.netns)];
  t.is(new Set([home, inA, inB]).size, 3);
  const seen = a.netns.run(() => [here(), b.netns.run(here), here()]);
  t.deepEqual(seen, [inA, inB, inA]);
  t.is(here(), home);
  t.throws(() =>
    a.netns.run(() => {
      throw new Error('no');
    }),
  );
  t.is(here(), home);
  t.is(b.netns.run(here), inB);
});

test('a setting whose file stays open is read anew each time', async (t) => {
  const {netns} = await makeNamespace(t);
  netns.run(() => {
    const kept = keepOpen(sysctl);
    for (const name of [
      'net/ipv4/ip_forward',
      'net/ipv6/conf/all/forwarding',
      'net/ipv4/conf/lo/arp_notify',
    ]) {
      for (const value of ['1', '0', '1']) {
        t.true(kept.ensure(name, value));
        t.false(kept.ensure(name, value));
        t.is(kept.read(name), value);
        t.is(sysctl.read(name), value);
      }
      // Whoever else changes it is seen.
      sysctl.write(name, '0');
      t.is(kept.read(name), '0');
    }
  });
  t.throws(() => keepOpen(sysctl).read('net/nonsense'), {message: /^open \/proc\/sys\/net\/nonsense: /});
});
