import {mkdtempSync, readdirSync, rmSync, writeFileSync} from 'node:fs';
import {tmpdir} from 'node:os';
import path from 'node:path';
import test from 'ava';
import {Journal, type Restored} from '../../../agent/repair/journal.ts';

const restored = (key: string, ifindex: number): Restored => ({
  attached: {
    owner: {network: 'net', containerId: key, ifName: 'eth0'},
    key,
    netns: '',
    ends: [],
    plugins: [{type: 'bridge', conf: {name: 'net'}}],
  },
  link: {name: `veth${key}`, ifindex},
});

test('what was made anew is known to the next agent, until it is taken back', (t) => {
  const runDir = mkdtempSync(path.join(tmpdir(), 'weft-repair-'));
  t.teardown(() => rmSync(runDir, {recursive: true}));
  const journal = new Journal(runDir);
  journal.load();
  const [one, two, again] = [restored('a', 7), restored('b', 8), restored('a', 9)];
  for (const each of [one, two, again, one]) journal.put(each);
  t.is(journal.size, 3);
  journal.delete(two);
  journal.delete(two);
  // Another agent was killed while it wrote.
  writeFileSync(path.join(runDir, 'repair/c-1'), '{"attached"');
  const next = new Journal(runDir);
  next.load();
  t.deepEqual(
    next.list().toSorted((x, y) => x.link.ifindex - y.link.ifindex),
    [one, again],
  );
  for (const each of next.list()) next.delete(each);
  t.deepEqual(readdirSync(path.join(runDir, 'repair')), []);
});
