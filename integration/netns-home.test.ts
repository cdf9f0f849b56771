import {readdirSync, readlinkSync, statSync} from 'node:fs';
import {setTimeout as sleep} from 'node:timers/promises';
import {createHost} from '../lib/host.ts';
import {keepHome} from '../lib/netns/netns.ts';
import {OwnProcfs} from '../lib/netns/procfs.ts';
import {sysctl, sysctlBelow} from '../lib/netns/sysctl.ts';
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

test('a procfs of its own shows the settings of the namespace the thread is in, as /proc/sys does', async (t) => {
  const [a, b] = await Promise.all([makeNamespace(t), makeNamespace(t)]);
  const procfs = new OwnProcfs();
  t.teardown(() => procfs.close());
  const own = sysctlBelow(() => procfs.sys());
  t.regex(procfs.sys(), /^\/proc\/self\/fd\/\d+\/sys$/);
  const names = ['net/ipv4/ip_forward', 'net/ipv6/conf/all/forwarding', 'net/ipv4/conf/lo/arp_notify'];
  for (const name of names) {
    for (const {netns} of [a, b]) netns.run(() => sysctl.write(name, '0'));
    for (const value of ['1', '0', '1']) {
      a.netns.run(() => {
        t.true(own.ensure(name, value));
        t.false(own.ensure(name, value));
        t.is(own.read(name), value);
        t.is(sysctl.read(name), value);
      });
      t.is(
        b.netns.run(() => own.read(name)),
        '0',
      );
    }
    // Whoever else changes it is seen.
    a.netns.run(() => sysctl.write(name, '0'));
    t.is(
      a.netns.run(() => own.read(name)),
      '0',
    );
  }
  t.throws(() => own.read('net/nonsense'), {message: /^open \/proc\/sys\/net\/nonsense: /});
  t.throws(() => a.netns.run(() => own.write('net/ipv4/ip_forward', 'x')), {
    message: 'write /proc/sys/net/ipv4/ip_forward: invalid argument',
  });
});

test.serial('a process of many calls has a procfs of its own, one of a single call has none', async (t) => {
  const {netns} = await makeNamespace(t);
  const opened = (manyCalls: boolean) => {
    const before = procfses();
    const host = createHost({manyCalls});
    using sandbox = host.sandbox(netns.path);
    sandbox.inside((settings) => settings.write('net/ipv4/conf/lo/arp_notify', '1'));
    t.is(sandbox.sysctl.read('net/ipv4/conf/lo/arp_notify'), '1');
    host.sysctl.read('net/ipv4/ip_forward');
    const after = procfses();
    host.close();
    return after - before;
  };
  t.is(opened(false), 0);
  t.is(opened(true), 1);
});

/** Open descriptors of a file system that is mounted nowhere. */
function procfses(): number {
  const names = readdirSync('/proc/self/fd').map((fd) => {
    try {
      return readlinkSync(`/proc/self/fd/${fd}`);
    } catch {
      return '';
    }
  });
  return names.filter((name) => name === '/').length;
}

test.serial('a procfs of its own is made anew after some uses, and the old one goes', async (t) => {
  const {netns} = await makeNamespace(t);
  const procfs = new OwnProcfs();
  const own = sysctlBelow(() => procfs.sys());
  const openFiles = () => readdirSync('/proc/self/fd').length;
  const value = netns.run(() => own.read('net/ipv4/ip_forward'));
  const before = openFiles();
  for (let i = 0; i < 1000; i++)
    t.is(
      netns.run(() => own.read('net/ipv4/ip_forward')),
      value,
    );
  for (const deadline = Date.now() + 10_000; openFiles() > before && Date.now() < deadline;) await sleep(10);
  t.true(openFiles() <= before);
  procfs.close();
});
