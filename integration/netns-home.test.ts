import {statSync} from 'node:fs';
import {keepHome} from '../lib/netns/netns.ts';
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
