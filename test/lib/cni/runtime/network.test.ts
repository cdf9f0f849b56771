import {mkdirSync, mkdtempSync, writeFileSync} from 'node:fs';
import {tmpdir} from 'node:os';
import {dirname, join} from 'node:path';
import test from 'ava';
import {describeFailure} from '../../../../lib/cni/failure.ts';
import {listNetworks, loadNetwork, parseNetwork} from '../../../../lib/cni/runtime/network.ts';

/** A folder of configurations; values that are not text are written as JSON. */
function folderOf(files: Readonly<Record<string, unknown>>): string {
  const folder = mkdtempSync(join(tmpdir(), 'weft-net.d-'));
  for (const [name, content] of Object.entries(files)) {
    mkdirSync(dirname(join(folder, name)), {recursive: true});
    writeFileSync(join(folder, name), typeof content === 'string' ? content : JSON.stringify(content));
  }
  return folder;
}

const list = (name: string, rest: object = {}) => ({
  cniVersion: '1.0.0',
  name,
  plugins: [{type: 'a'}],
  ...rest,
});

test('a network is found by its name, not by its file', (t) => {
  const folder = folderOf({'10-a.conflist': list('one'), '20-b.conflist': list('two')});
  const network = loadNetwork(folder, 'two');
  t.like(network, {
    name: 'two',
    cniVersion: '1.0.0',
    disableCheck: false,
    disableGC: false,
    plugins: [{type: 'a'}],
  });
  t.is(network.text, JSON.stringify(list('two')));
});

test('of two networks of one name the alphabetically first counts', (t) => {
  const folder = folderOf({'20.conflist': list('one', {plugins: [{type: 'b'}]}), '10.conflist': list('one')});
  t.deepEqual(loadNetwork(folder, 'one').plugins, [{type: 'a'}]);
});

test('lists come before single plugins', (t) => {
  const folder = folderOf({'10.conf': {name: 'one', type: 'b'}, '20.conflist': list('one')});
  t.deepEqual(loadNetwork(folder, 'one').plugins, [{type: 'a'}]);
});

for (const extension of ['conf', 'json']) {
  test(`a single plugin in a .${extension} file is a network`, (t) => {
    const conf = {name: 'one', cniVersion: '0.4.0', type: 'b', mtu: 5};
    const folder = folderOf({[`10.${extension}`]: conf});
    t.like(loadNetwork(folder, 'one'), {name: 'one', cniVersion: '0.4.0', plugins: [conf]});
  });
}

test('a file that cannot be read does not hide another', (t) => {
  const folder = folderOf({'10.conflist': '{', '20.conflist': list('one')});
  t.is(loadNetwork(folder, 'one').name, 'one');
});

const fails = test.macro((t, files: Record<string, unknown>, message: RegExp) => {
  const folder = folderOf(files);
  const error = t.throws(() => loadNetwork(folder, 'one'));
  t.regex(describeFailure(error).replaceAll(folder, 'DIR'), message);
});

test('an empty folder', fails, {}, /^no net configurations found in DIR$/);
test('no such network', fails, {'a.conflist': list('x')}, /^no net configuration with name "one" in DIR$/);
test(
  'a broken file',
  fails,
  {'a.conflist': '{'},
  /in DIR: error reading DIR\/a.conflist: error parsing configuration list: /,
);
test('a list', fails, {'a.conflist': '[]'}, /error parsing configuration list: it is not an object$/);
test(
  'no name',
  fails,
  {'a.conflist': list('x', {name: undefined})},
  /error parsing configuration list: no name$/,
);
test('a number for a name', fails, {'a.conflist': list('x', {name: 1})}, /invalid name: 1$/);
test('a number for a version', fails, {'a.conflist': list('x', {cniVersion: 1})}, /invalid cniVersion: 1$/);
test(
  'a word for versions',
  fails,
  {'a.conflist': list('x', {cniVersions: 'x'})},
  /invalid cniVersions: "x"$/,
);
test(
  'a number in versions',
  fails,
  {'a.conflist': list('x', {cniVersions: [1]})},
  /invalid cniVersions index 0: 1$/,
);
test(
  'a word in versions',
  fails,
  {'a.conflist': list('x', {cniVersions: ['1.0.0', 'newest']})},
  /invalid cniVersions index 1: failed to convert major version part "newest"/,
);
test(
  'a word for a flag',
  fails,
  {'a.conflist': list('x', {disableGC: 'x'})},
  /invalid value "x" for disableGC$/,
);
test('a word for plugins', fails, {'a.conflist': list('x', {plugins: 'x'})}, /invalid 'plugins': "x"$/);
test('no plugins', fails, {'a.conflist': list('x', {plugins: []})}, /no plugins in list$/);
test('no key plugins', fails, {'a.conflist': list('x', {plugins: undefined})}, /no plugin configs found$/);
test(
  'a plugin without a type',
  fails,
  {'a.conflist': list('x', {plugins: [{}]})},
  /failed to parse plugin config 0: missing 'type'$/,
);
test(
  'a single plugin without a type',
  fails,
  {'a.conf': {name: 'one'}},
  /error parsing configuration: missing 'type'$/,
);
test(
  'no plugins where only those in the file count',
  fails,
  {'a.conflist': list('one', {plugins: undefined, loadOnlyInlinedPlugins: true})},
  /`loadOnlyInlinedPlugins` is true, and no 'plugins' key$/,
);

test('plugins in a folder beside are added', (t) => {
  const files = {'one/20.conf': {type: 'c'}, 'one/10.conf': {type: 'b'}, 'one/x.json': {type: 'd'}};
  const folder = folderOf({'a.conflist': list('one'), ...files});
  t.deepEqual(loadNetwork(folder, 'one').plugins, [{type: 'a'}, {type: 'b'}, {type: 'c'}]);
  const only = folderOf({'a.conflist': list('one', {loadOnlyInlinedPlugins: true}), ...files});
  t.deepEqual(loadNetwork(only, 'one').plugins, [{type: 'a'}]);
});

for (const [cniVersion, cniVersions, expected] of [
  [undefined, undefined, ''],
  ['0.4.0', undefined, '0.4.0'],
  ['9.9.9', undefined, '9.9.9'],
  ['0.4.0', ['1.0.0', '0.3.1'], '1.0.0'],
  ['1.0.0', ['0.3.1'], '1.0.0'],
  [undefined, ['0.10.0', '0.9.0'], '0.10.0'],
  ['1.0.0', ['1.1.0', '1.2.0', '2.0.0'], '1.1.0'],
  ['2.0.0', ['3.0.0'], '2.0.0'],
] as const) {
  test(`of ${cniVersion} and ${JSON.stringify(cniVersions)} version "${expected}" is chosen`, (t) => {
    t.is(parseNetwork(JSON.stringify({...list('x'), cniVersion, cniVersions})).cniVersion, expected);
  });
}

test('flags may be text', (t) => {
  const network = parseNetwork(JSON.stringify(list('x', {disableCheck: 'True', disableGC: 'false'})));
  t.like(network, {disableCheck: true, disableGC: false});
});

test('all networks of a folder are listed, and what cannot be read is told', (t) => {
  const folder = folderOf({
    'a.conflist': list('one'),
    'b.conf': {name: 'two', type: 'b'},
    'c.conflist': '{',
    'd.txt': '',
  });
  const errors: unknown[] = [];
  const networks = listNetworks(folder, (error) => void errors.push(error));
  t.deepEqual(
    networks.map(({name}) => name),
    ['one', 'two'],
  );
  t.is(errors.length, 1);
});
