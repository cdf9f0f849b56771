import {mkdir, mkdtemp, rename, rm, symlink, writeFile} from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import {setTimeout} from 'node:timers/promises';
import test, {type ExecutionContext} from 'ava';
import {createStaticMembership} from '../../../agent/membership/static.ts';
import {formatIp} from '../../../lib/ip/address.ts';
import {keepLog, record} from '../../helpers/membership-recorder.ts';

const node = (name: string, last: number) => ({
  name,
  publicIP: `192.0.2.${last}`,
  subnets: [`10.244.${last}.0/24`],
});
const text = (...nodes: unknown[]) => JSON.stringify({network: '10.244.0.0/16', nodes});

async function makeDirectory(t: ExecutionContext): Promise<string> {
  const directory = await mkdtemp(path.join(os.tmpdir(), 'weft-static-'));
  t.teardown(() => rm(directory, {recursive: true, force: true}));
  return directory;
}

function start(
  t: ExecutionContext,
  file: string,
  {pollMs = 3_600_000, form = 'routed'}: {pollMs?: number; form?: 'routed' | 'l2'} = {},
) {
  const log = keepLog(t);
  const membership = createStaticMembership(
    {file, pollMs},
    {nodeId: 'a', network: {name: 'pods', form}, log},
  );
  return Object.assign(record(t, membership), {log});
}

const peers = (recorded: ReturnType<typeof start>) =>
  recorded.snapshots
    .at(-1)
    ?.peers.map(({id}) => id)
    .join();

test('gives this host and the others', async (t) => {
  const file = path.join(await makeDirectory(t), 'pods.json');
  await writeFile(file, text(node('a', 1), node('b', 2), node('c', 3)));
  const recorded = start(t, file);
  await recorded.until('a snapshot', ({snapshots}) => snapshots.length === 1);
  t.is(peers(recorded), 'b,c');
  t.is(recorded.snapshots[0]?.self?.id, 'a');
  t.deepEqual(recorded.snapshots[0]?.self?.underlay.map(formatIp), ['192.0.2.1']);
  await recorded.until('ready', ({membership}) => membership.state.kind === 'ready');
});

test('a file that is written, and one that takes its place, are read without being asked for', async (t) => {
  const directory = await makeDirectory(t);
  const file = path.join(directory, 'pods.json');
  await writeFile(file, text(node('a', 1)));
  const recorded = start(t, file);
  await recorded.until('nobody else', () => peers(recorded) === '');
  await writeFile(file, text(node('a', 1), node('b', 2)));
  await recorded.until('b', () => peers(recorded) === 'b');
  await writeFile(`${file}.new`, text(node('a', 1), node('c', 3)));
  await rename(`${file}.new`, file);
  await recorded.until('c', () => peers(recorded) === 'c');
});

test('a ConfigMap, which is replaced by changing a link beside the file, is followed', async (t) => {
  const directory = await makeDirectory(t);
  for (const [name, content] of [
    ['one', text(node('a', 1), node('b', 2))],
    ['two', text(node('a', 1), node('c', 3))],
  ] as const) {
    await mkdir(path.join(directory, name));
    await writeFile(path.join(directory, name, 'pods.json'), content);
  }
  await symlink('one', path.join(directory, '..data'));
  await symlink('..data/pods.json', path.join(directory, 'pods.json'));
  const recorded = start(t, path.join(directory, 'pods.json'));
  await recorded.until('b', () => peers(recorded) === 'b');
  await symlink('two', path.join(directory, '..new'));
  await rename(path.join(directory, '..new'), path.join(directory, '..data'));
  await recorded.until('c', () => peers(recorded) === 'c');
});

test('what cannot be used changes nothing, and the state says why', async (t) => {
  const file = path.join(await makeDirectory(t), 'pods.json');
  await writeFile(file, text(node('a', 1), node('b', 2)));
  const recorded = start(t, file);
  await recorded.until('b', () => peers(recorded) === 'b');
  await writeFile(file, text(node('a', 1), node('b', 1)));
  await recorded.until('stale', ({membership}) => membership.state.kind === 'stale');
  t.is(
    recorded.membership.state.reason,
    `${file}: nodes[1].publicIP: 192.0.2.1 is also the address of nodes[0] (a); each host has its own; the last good description stands`,
  );
  await writeFile(file, text(node('b', 2), node('c', 3)));
  await recorded.until('not listed', ({membership}) => membership.state.reason?.includes('none is named a'));
  t.is(peers(recorded), 'b');
  await rm(file);
  await recorded.until('no file', ({membership}) => membership.state.reason?.includes('ENOENT'));
  t.is(recorded.snapshots.length, 1);
  await writeFile(file, text(node('a', 1), node('c', 3)));
  await recorded.until('mended', ({membership}) => membership.state.kind === 'ready');
  t.is(peers(recorded), 'c');
});

test('a directory that comes later is found by the clock, and then watched', async (t) => {
  const directory = path.join(await makeDirectory(t), 'later');
  const file = path.join(directory, 'pods.json');
  const recorded = start(t, file, {pollMs: 20});
  await recorded.until('not there', ({membership}) => membership.state.reason?.includes('ENOENT'));
  t.is(recorded.membership.state.kind, 'starting');
  await mkdir(directory);
  await writeFile(file, text(node('a', 1), node('b', 2)));
  await recorded.until('b', () => peers(recorded) === 'b');
});

test('the same content again is no change; reload and relist read at once', async (t) => {
  const file = path.join(await makeDirectory(t), 'pods.json');
  await writeFile(file, text(node('a', 1), node('b', 2)));
  const recorded = start(t, file);
  await recorded.until('b', () => peers(recorded) === 'b');
  await writeFile(file, text(node('a', 1), node('b', 2)));
  recorded.membership.reload();
  t.is(await recorded.membership.relist(), recorded.snapshot);
  await setTimeout(100);
  t.is(recorded.snapshots.length, 1);
});

test('a form that the network does not have is refused', async (t) => {
  const file = path.join(await makeDirectory(t), 'pods.json');
  await writeFile(file, text(node('a', 1)));
  const recorded = start(t, file, {form: 'l2'});
  await recorded.until('refused', ({membership}) => membership.state.reason?.includes('form: routed, but'));
});

test('a hardware address that is not the one in the file is told once', async (t) => {
  const file = path.join(await makeDirectory(t), 'pods.json');
  await writeFile(file, text(node('a', 1)));
  const recorded = start(t, file);
  await recorded.until('a snapshot', ({snapshots}) => snapshots.length === 1);
  for (let i = 0; i < 2; i++) recorded.membership.advertise({underlay: [], macs: {4: '02:00:00:00:00:09'}});
  t.is(recorded.log.lines.filter((line) => line.includes('another hardware address')).length, 1);
});
