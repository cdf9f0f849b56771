import {existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, writeFileSync} from 'node:fs';
import {tmpdir} from 'node:os';
import path from 'node:path';
import test from 'ava';
import {
  findScratch,
  formatScratch,
  removeScratch,
  removeStaleScratches,
  writeScratch,
} from '../../../plugins/vxlan/scratch.ts';

const folder = () => mkdtempSync(path.join(tmpdir(), 'weft-'));
const owner = {network: 'mynet', containerId: 'c1', ifName: 'eth0'};
const conf = (more: object = {}) => formatScratch({name: 'mynet', type: 'bridge', ...more});
const listAll = (dataDir: string) =>
  readdirSync(dataDir, {recursive: true, withFileTypes: true})
    .filter((entry) => entry.isFile())
    .map((entry) =>
      path.join(path.relative(dataDir, entry.parentPath), entry.name).replace(/^\.weft\/\w+/, '*'),
    )
    .sort();

test('what is written is what flannel reads, under its name', (t) => {
  const dataDir = path.join(folder(), 'a/b');
  writeScratch(dataDir, owner, conf());
  t.is(readFileSync(path.join(dataDir, 'c1'), 'utf8'), conf());
  t.deepEqual(findScratch(dataDir, owner), {conf: {name: 'mynet', type: 'bridge'}, text: conf()});
  t.deepEqual(listAll(dataDir), ['*/c1:eth0', 'c1']);
  removeScratch(dataDir, owner);
  removeScratch(dataDir, owner);
  t.deepEqual(listAll(dataDir), []);
});

test('a second interface of a container has a file of its own, and flannel keeps the first', (t) => {
  const dataDir = folder();
  const other = {...owner, ifName: 'eth1'};
  writeScratch(dataDir, owner, conf());
  writeScratch(dataDir, other, conf({x: 1}));
  t.is(readFileSync(path.join(dataDir, 'c1'), 'utf8'), conf());
  t.is(findScratch(dataDir, other)?.text, conf({x: 1}));
  t.is(findScratch(dataDir, {...owner, ifName: 'eth2'}), undefined);
  removeScratch(dataDir, other);
  t.deepEqual(listAll(dataDir), ['*/c1:eth0', 'c1']);
  writeScratch(dataDir, other, conf());
  removeScratch(dataDir, owner);
  t.deepEqual(listAll(dataDir), ['*/c1:eth1']);
});

test("a second ADD takes the first's place under both names", (t) => {
  const dataDir = folder();
  writeScratch(dataDir, owner, conf());
  writeScratch(dataDir, owner, conf({x: 1}));
  t.is(readFileSync(path.join(dataDir, 'c1'), 'utf8'), conf({x: 1}));
  t.deepEqual(listAll(dataDir), ['*/c1:eth0', 'c1']);
});

test("flannel's file counts for whichever interface is asked for, of its network", (t) => {
  const dataDir = folder();
  writeFileSync(path.join(dataDir, 'c1'), conf({of: 'flannel'}));
  t.is(findScratch(dataDir, owner)?.text, conf({of: 'flannel'}));
  t.is(findScratch(dataDir, {...owner, network: 'other'}), undefined);
  removeScratch(dataDir, {...owner, network: 'other'});
  t.deepEqual(listAll(dataDir), ['c1']);
  removeScratch(dataDir, owner);
  t.deepEqual(listAll(dataDir), []);
});

test('what flannel has removed is found by our name, and what it wrote anew is replaced', (t) => {
  const dataDir = folder();
  writeScratch(dataDir, owner, conf());
  writeFileSync(path.join(dataDir, 'new'), conf({of: 'flannel'}));
  t.is(findScratch(dataDir, owner)?.text, conf());
  writeFileSync(path.join(dataDir, 'c2'), conf({of: 'flannel'}));
  writeScratch(dataDir, {...owner, containerId: 'c2'}, conf());
  t.is(readFileSync(path.join(dataDir, 'c2'), 'utf8'), conf());
});

test('a file that was cut off is none', (t) => {
  const dataDir = folder();
  writeFileSync(path.join(dataDir, 'c1'), '{"name":"mynet"');
  t.is(findScratch(dataDir, owner), undefined);
});

test("GC forgets this network's containers that are gone, flannel's too, and nothing else", (t) => {
  const dataDir = folder();
  for (const containerId of ['gone', 'kept', 'two']) writeScratch(dataDir, {...owner, containerId}, conf());
  writeScratch(dataDir, {...owner, containerId: 'two', ifName: 'eth1'}, conf());
  writeScratch(dataDir, {...owner, network: 'other', containerId: 'other'}, formatScratch({name: 'other'}));
  writeFileSync(path.join(dataDir, 'flannel-gone'), conf());
  writeFileSync(path.join(dataDir, 'flannel-kept'), conf());
  writeFileSync(path.join(dataDir, 'flannel-other'), formatScratch({name: 'other'}));
  mkdirSync(path.join(dataDir, 'directory'));
  const keep = ['kept', 'flannel-kept', 'two'].map((containerId) => ({containerId, ifName: 'eth0'}));
  t.deepEqual([...removeStaleScratches(dataDir, 'mynet', keep)].sort(), [
    'flannel-gone',
    'gone:eth0',
    'two:eth1',
  ]);
  t.deepEqual(listAll(dataDir), [
    '*/kept:eth0',
    '*/other:eth0',
    '*/two:eth0',
    'flannel-kept',
    'flannel-other',
    'kept',
    'other',
    'two',
  ]);
  removeStaleScratches(dataDir, 'mynet', []);
  t.deepEqual(listAll(dataDir), ['*/other:eth0', 'flannel-other', 'other']);
  t.is(readdirSync(path.join(dataDir, '.weft')).length, 1);
  t.deepEqual(removeStaleScratches(path.join(dataDir, 'none'), 'mynet', []), []);
});

test('a directory that cannot be written is error 5 with the remedy', (t) => {
  const file = path.join(folder(), 'file');
  writeFileSync(file, '');
  const error = t.throws(() => writeScratch(path.join(file, 'd'), owner, conf()));
  t.like(error, {code: 5});
  t.regex(error?.message ?? '', /^cannot write .*c1:eth0: not a directory$/);
  t.is(findScratch(path.join(file, 'd'), owner), undefined);
  t.false(existsSync(path.join(file, 'd')));
});
