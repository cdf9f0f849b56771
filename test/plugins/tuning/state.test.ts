import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import {tmpdir} from 'node:os';
import {join} from 'node:path';
import test from 'ava';
import type {ExecutionContext} from 'ava';
import {
  formatState,
  parseState,
  readState,
  removeStaleStates,
  removeState,
  writeState,
} from '../../../plugins/tuning/state.ts';

function makeDataDir(t: ExecutionContext): string {
  const root = mkdtempSync(join(tmpdir(), 'weft-tuning-'));
  t.teardown(() => rmSync(root, {recursive: true, force: true}));
  return join(root, 'a/b');
}

const owner = (containerId: string, network = 'net1') => ({network, containerId, ifName: 'eth0'});
const originals = {mac: '02:00:00:00:00:01', promisc: false, mtu: 1500, allmulti: true, txQLen: 0};

/** All files, without the directories they are in. */
const filesOf = (dataDir: string) =>
  readdirSync(dataDir, {recursive: true, withFileTypes: true})
    .filter((entry) => entry.isFile())
    .map(({name}) => name)
    .sort();

// What containernetworking-plugins 1.1.1 wrote for the same; "txQLen" came later.
const theirs = `{
 "mac": "02:00:00:00:00:01",
 "promisc": false,
 "mtu": 1500,
 "allmulti": true,
 "txQLen": 0
}`;

test("the text is the reference's, byte for byte", (t) => {
  t.is(formatState(originals), theirs);
  t.is(
    formatState({txQLen: 5, mac: '02:00:00:00:00:01'}),
    '{\n "mac": "02:00:00:00:00:01",\n "txQLen": 5\n}',
  );
  t.deepEqual(parseState(theirs), originals);
});

test('what is not there is not restored', (t) => {
  t.deepEqual(parseState('{"mac": "", "mtu": 0, "promisc": null, "more": 1}'), {});
  for (const text of ['', 'nonsense', '[]', '{"mtu": "1500"}', 'null']) {
    t.true([undefined, '{}'].includes(JSON.stringify(parseState(text))), text);
  }
});

test('written, read, written again and removed', (t) => {
  const dataDir = makeDataDir(t);
  t.is(readState(dataDir, owner('c1')), undefined);
  writeState(dataDir, owner('c1'), originals);
  const file = join(dataDir, 'c1_eth0.json');
  t.is(readFileSync(file, 'utf8'), theirs);
  t.is(statSync(file).mode & 0o777, 0o600);
  t.deepEqual(readState(dataDir, owner('c1')), originals);
  writeState(dataDir, owner('c1'), {mtu: 9});
  t.deepEqual(readState(dataDir, owner('c1')), {mtu: 9});
  t.deepEqual(filesOf(dataDir), ['c1_eth0.json', 'c1_eth0.json']);
  removeState(dataDir, owner('c1'));
  removeState(dataDir, owner('c1'));
  t.deepEqual(filesOf(dataDir), []);
});

test('GC removes those of the network that are not in use, and nothing else', (t) => {
  const dataDir = makeDataDir(t);
  for (const id of ['c1', 'c2', 'c_3']) writeState(dataDir, owner(id), originals);
  writeState(dataDir, owner('other', 'net2'), originals);
  writeFileSync(join(dataDir, 'reference_eth0.json'), theirs);
  const keep = [
    {containerId: 'c1', ifName: 'eth0'},
    {containerId: 'c2', ifName: 'eth1'},
  ];
  t.deepEqual(removeStaleStates(dataDir, 'net1', keep).toSorted(), ['c2_eth0.json', 'c_3_eth0.json']);
  t.deepEqual(
    readdirSync(dataDir).filter((name) => !name.startsWith('.')),
    ['c1_eth0.json', 'other_eth0.json', 'reference_eth0.json'],
  );
  t.deepEqual(removeStaleStates(dataDir, 'net1', []), ['c1_eth0.json']);
  t.deepEqual(removeStaleStates(dataDir, 'net1', []), []);
  t.deepEqual(removeStaleStates(join(dataDir, 'none'), 'net1', []), []);
});

test('GC leaves a file that is of another network by now', (t) => {
  const dataDir = makeDataDir(t);
  writeState(dataDir, owner('c1'), originals);
  writeState(dataDir, owner('c1', 'net2'), {mtu: 9});
  removeStaleStates(dataDir, 'net1', []);
  t.deepEqual(readState(dataDir, owner('c1', 'net2')), {mtu: 9});
});

test('GC removes what a kill in the middle of writing left', (t) => {
  const dataDir = makeDataDir(t);
  writeState(dataDir, owner('c1'), originals);
  const hidden = join(dataDir, '.weft', readdirSync(join(dataDir, '.weft'))[0]!);
  writeFileSync(join(hidden, '.0000'), '');
  removeStaleStates(dataDir, 'net1', [{containerId: 'c1', ifName: 'eth0'}]);
  t.false(existsSync(join(hidden, '.0000')));
  t.deepEqual(readState(dataDir, owner('c1')), originals);
});

test('a directory that cannot be made is named', (t) => {
  const dataDir = makeDataDir(t);
  mkdirSync(join(dataDir, '..'), {recursive: true});
  writeFileSync(dataDir, '');
  t.throws(() => writeState(dataDir, owner('c1'), originals), {
    message: /^cannot write .*c1_eth0\.json: (not a directory|file exists)$/,
  });
});
