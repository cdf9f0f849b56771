import {mkdirSync, symlinkSync, unlinkSync, utimesSync, writeFileSync} from 'node:fs';
import {join} from 'node:path';
import test from 'ava';
import type {ExecutionContext} from 'ava';
import {openReclaimer} from '../../../lib/store/reclaim.ts';
import {holder, ip, makeStore} from './helpers.ts';

/** A machine that was started at `bootMs`, with processes in namespaces that have these addresses. */
function makeMachine(t: ExecutionContext, bootMs: number) {
  const {root, directory, open} = makeStore(t);
  const procDir = join(root, 'proc');
  const cacheFolder = join(root, 'cache');
  const cacheDir = join(cacheFolder, 'results');
  mkdirSync(procDir);
  mkdirSync(cacheDir, {recursive: true});
  writeFileSync(join(procDir, 'stat'), `cpu 1 2 3\nbtime ${Math.floor(bootMs / 1000)}\nprocesses 7\n`);
  const witness = join(procDir, 'stat');
  const options = {network: 'net1', procDir, cacheFolder, witnesses: [] as string[]};
  const addProcess = (pid: number, netns: number, {ipv4, ipv6}: {ipv4?: string; ipv6?: string} = {}) => {
    mkdirSync(join(procDir, `${pid}/ns`), {recursive: true});
    mkdirSync(join(procDir, `${pid}/net`));
    symlinkSync(`net:[${netns}]`, join(procDir, `${pid}/ns/net`));
    writeFileSync(
      join(procDir, `${pid}/net/fib_trie`),
      `Main:\n  +-- 0.0.0.0/0 3 0 5\n     |-- 10.1.2.0\n        /24 link UNICAST\n     |-- ${ipv4 ?? '127.0.0.1'}\n        /32 host LOCAL\n`,
    );
    writeFileSync(
      join(procDir, `${pid}/net/if_inet6`),
      ipv6 === undefined ? '' : `${ipv6} 02 40 00 80     eth0\n`,
    );
  };
  return {
    open,
    directory,
    witness,
    cacheDir,
    addProcess,
    /** Whether a file with this content, made just now, is reclaimable. */
    judge: async (name: string, content: string, changes: Partial<typeof options> = {}) =>
      open((store) => {
        writeFileSync(join(directory, name), content);
        const isReclaimable = openReclaimer(store, {...options, ...changes}).isReclaimable(ip(name));
        unlinkSync(join(directory, name));
        return isReclaimable;
      }),
  };
}

const hour = 3_600_000;

test('what was reserved before the machine was started is reclaimable', async (t) => {
  const {judge} = makeMachine(t, Date.now() + hour);
  t.true(await judge('10.1.2.3', 'c1\r\neth0'));
  t.true(await judge('2001:db8::3', 'c1\r\neth0'));
  t.true(await judge('10.1.2.3', 'c1'));
});

test('what was reserved since is not', async (t) => {
  const {judge} = makeMachine(t, Date.now() - hour);
  t.false(await judge('10.1.2.3', 'c1\r\neth0'));
});

test('what this boot reserved is not, though the clock has jumped since', async (t) => {
  const {open, addProcess, ...machine} = makeMachine(t, Date.now() + hour);
  addProcess(1, 100);
  await open((store) => {
    store.reserve({ip: ip('10.1.2.3'), holder: holder('c1')});
    const options = {network: 'net1', procDir: join(machine.witness, '..'), witnesses: []};
    t.false(openReclaimer(store, options).isReclaimable(ip('10.1.2.3')));
  });
});

test('nothing is reclaimable where the clock once showed less in this boot', async (t) => {
  const {judge, witness} = makeMachine(t, Date.now() + hour);
  utimesSync(witness, 1000, 1000);
  t.false(await judge('10.1.2.3', 'c1\r\neth0', {witnesses: [witness]}));
});

test('nothing is where the start of the machine is not known', async (t) => {
  const {judge, directory} = makeMachine(t, Date.now() + hour);
  t.false(await judge('10.1.2.3', 'c1\r\neth0', {procDir: directory}));
});

test('an address that a namespace has is not reclaimable', async (t) => {
  const {judge, addProcess} = makeMachine(t, Date.now() + hour);
  addProcess(1, 100, {ipv4: '10.1.2.1'});
  addProcess(20, 100);
  addProcess(30, 101, {ipv4: '10.1.2.3', ipv6: '20010db8000000000000000000000003'});
  t.false(await judge('10.1.2.3', 'c1\r\neth0'));
  t.false(await judge('2001:db8::3', 'c1\r\neth0'));
  t.true(await judge('10.1.2.4', 'c1\r\neth0'));
});

test('a namespace that the runtime’s cache names keeps the reservation while it exists', async (t) => {
  const {judge, cacheDir, directory} = makeMachine(t, Date.now() + hour);
  const cache = (containerId: string, netns: string) => {
    const entry = {kind: 'cniCacheV1', containerId, ifName: 'eth0', networkName: 'net1', netns};
    writeFileSync(join(cacheDir, `net1-${containerId}-eth0`), JSON.stringify(entry));
  };
  cache('c1', directory);
  cache('c2', '/no/such/netns');
  writeFileSync(join(cacheDir, 'net1-c3-eth0'), 'no JSON');
  t.false(await judge('10.1.2.3', 'c1\r\neth0'));
  t.false(await judge('10.1.2.3', 'c1'), 'for a reservation that does not name its interface');
  t.true(await judge('10.1.2.3', 'c1\r\neth1'));
  t.true(await judge('10.1.2.3', 'c2\r\neth0'));
  t.true(await judge('10.1.2.3', 'c3\r\neth0'));
});
