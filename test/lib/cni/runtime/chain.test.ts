import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import {tmpdir} from 'node:os';
import {join} from 'node:path';
import test from 'ava';
import {CniError} from '../../../../lib/cni/error.ts';
import type {Execution} from '../../../../lib/cni/exec.ts';
import {describeFailure} from '../../../../lib/cni/failure.ts';
import {
  addNetwork,
  checkNetwork,
  delNetwork,
  gcNetwork,
  listStale,
  statusNetwork,
} from '../../../../lib/cni/runtime/chain.ts';
import {listCached} from '../../../../lib/cni/runtime/cache.ts';
import {parseNetwork} from '../../../../lib/cni/runtime/network.ts';
import {checkPlugins, probeVersions} from '../../../../lib/cni/runtime/probe.ts';
import type {JsonObject} from '../../../../lib/cni/types.ts';
import {scriptFolder} from '../scripts.ts';

interface Called {
  readonly plugin: string;
  readonly verb: string;
  readonly env: Readonly<Record<string, string>>;
  readonly conf: JsonObject;
}

type Answer = (called: Called) => string | Error | undefined;

/** A runtime whose plugins a, b and c are answered for by `answer`, an empty result by default. */
function fakeRuntime(answer: Answer = () => undefined) {
  const calls: Called[] = [];
  const folder = scriptFolder({a: '', b: '', c: ''});
  const runtime = {
    path: [folder],
    cacheFolder: mkdtempSync(join(tmpdir(), 'weft-cache-')),
    env: {HOME: '/root'},
    stderr: () => {},
    exec: async ({file, env, stdin}: Execution) => {
      const called = {
        plugin: file.slice(folder.length + 1),
        verb: env['CNI_COMMAND'] ?? '',
        env,
        conf: JSON.parse(stdin) as JsonObject,
      };
      calls.push(called);
      const said = answer(called);
      if (said instanceof Error) throw said;
      return said ?? JSON.stringify({cniVersion: called.conf['cniVersion']});
    },
  };
  const order = () => calls.map(({verb, plugin}) => `${verb} ${plugin}`);
  return {runtime, calls, order};
}

const network = (rest: object = {}) =>
  parseNetwork(
    JSON.stringify({cniVersion: '1.1.0', name: 'net1', plugins: [{type: 'a'}, {type: 'b'}], ...rest}),
  );
const attachment = {containerId: 'c1', ifName: 'eth0', netns: '/run/netns/c1'};

/** Each plugin adds an interface of its name to what came before. */
const growing: Answer = ({plugin, verb, conf}) => {
  if (verb !== 'ADD') return undefined;
  const {interfaces = []} = (conf['prevResult'] ?? {}) as {interfaces?: readonly JsonObject[]};
  return JSON.stringify({cniVersion: conf['cniVersion'], interfaces: [...interfaces, {name: plugin}]});
};

test('ADD runs front to back, each plugin with the result of the one before', async (t) => {
  const {runtime, calls, order} = fakeRuntime(growing);
  const {result, version} = await addNetwork(runtime, network(), attachment);
  t.deepEqual(order(), ['ADD a', 'ADD b']);
  t.deepEqual(calls[0]?.conf, {cniVersion: '1.1.0', name: 'net1', type: 'a'});
  t.deepEqual(calls[1]?.conf['prevResult'], {cniVersion: '1.1.0', interfaces: [{name: 'a'}]});
  t.deepEqual({result: result.interfaces, version}, {result: [{name: 'a'}, {name: 'b'}], version: '1.1.0'});
});

test('a plugin gets all six variables over the runtime’s own environment', async (t) => {
  const {runtime, calls} = fakeRuntime();
  await addNetwork(runtime, network(), {
    ...attachment,
    args: [
      ['A', '1'],
      ['B', '2'],
    ],
  });
  t.deepEqual(calls[0]?.env, {
    HOME: '/root',
    CNI_COMMAND: 'ADD',
    CNI_CONTAINERID: 'c1',
    CNI_NETNS: '/run/netns/c1',
    CNI_IFNAME: 'eth0',
    CNI_ARGS: 'A=1;B=2',
    CNI_PATH: runtime.path.join(':'),
  });
});

test('runtimeConfig holds the capabilities that a plugin declares and the runtime has', async (t) => {
  const {runtime, calls} = fakeRuntime();
  const plugins = [
    {type: 'a', capabilities: {mac: true, ips: true, bandwidth: false}},
    {type: 'b', Capabilities: {ips: true}},
  ];
  await addNetwork(runtime, network({plugins}), {...attachment, capabilityArgs: {mac: 'x', bandwidth: {}}});
  t.deepEqual(calls[0]?.conf['runtimeConfig'], {mac: 'x'});
  t.is(calls[1]?.conf['runtimeConfig'], undefined);
});

test('ADD is cached as runtimes cache it', async (t) => {
  const {runtime} = fakeRuntime(growing);
  const list = network();
  await addNetwork(runtime, list, {...attachment, args: [['A', '1']], capabilityArgs: {mac: 'x'}});
  const file = join(runtime.cacheFolder, 'results', 'net1-c1-eth0');
  t.is(statSync(file).mode & 0o777, 0o600);
  t.is(statSync(join(runtime.cacheFolder, 'results')).mode & 0o777, 0o700);
  t.is(
    readFileSync(file, 'utf8'),
    JSON.stringify({
      kind: 'cniCacheV1',
      containerId: 'c1',
      config: Buffer.from(list.text).toString('base64'),
      ifName: 'eth0',
      networkName: 'net1',
      netns: '/run/netns/c1',
      cniArgs: [['A', '1']],
      capabilityArgs: {mac: 'x'},
      result: {cniVersion: '1.1.0', interfaces: [{name: 'a'}, {name: 'b'}]},
    }),
  );
  t.deepEqual(readdirSync(runtime.cacheFolder), ['results']);
});

test('a failed ADD stops, names the plugin and caches nothing', async (t) => {
  const {runtime, order} = fakeRuntime(() => new CniError(11, 'later', 'd'));
  const error = await t.throwsAsync(addNetwork(runtime, network(), attachment));
  t.is(describeFailure(error), 'plugin type="a" failed (add): later; d');
  t.deepEqual(order(), ['ADD a']);
  t.deepEqual(listCached(runtime.cacheFolder, 'net1'), []);
});

test('ADD refuses what cannot name an attachment', async (t) => {
  const {runtime, calls} = fakeRuntime();
  await t.throwsAsync(addNetwork(runtime, network(), {...attachment, containerId: '../x'}), {
    message: /containerID/,
  });
  await t.throwsAsync(addNetwork(runtime, network(), {...attachment, ifName: '..'}), {
    message: /interface name/,
  });
  await t.throwsAsync(addNetwork(runtime, network({name: 'a/b'}), attachment), {message: /network name/});
  t.is(calls.length, 0);
});

test('DEL runs back to front with the final result, then forgets it', async (t) => {
  const {runtime, calls, order} = fakeRuntime(growing);
  await addNetwork(runtime, network(), attachment);
  calls.length = 0;
  await delNetwork(runtime, network(), attachment);
  t.deepEqual(order(), ['DEL b', 'DEL a']);
  const final = {cniVersion: '1.1.0', interfaces: [{name: 'a'}, {name: 'b'}]};
  t.deepEqual(
    calls.map(({conf}) => conf['prevResult']),
    [final, final],
  );
  t.deepEqual(listCached(runtime.cacheFolder, 'net1'), []);
  await delNetwork(runtime, network(), attachment);
  t.is(calls[2]?.conf['prevResult'], undefined);
});

test('DEL before 0.4.0 has no result', async (t) => {
  const {runtime, calls} = fakeRuntime(growing);
  const old = network({cniVersion: '0.3.1'});
  await addNetwork(runtime, old, attachment);
  await delNetwork(runtime, old, attachment);
  t.is(calls.at(-1)?.conf['prevResult'], undefined);
  t.deepEqual(listCached(runtime.cacheFolder, 'net1'), []);
});

test('DEL does without a result that cannot be read, CHECK does not', async (t) => {
  const {runtime, calls} = fakeRuntime();
  mkdirSync(join(runtime.cacheFolder, 'results'));
  const file = join(runtime.cacheFolder, 'results', 'net1-c1-eth0');
  writeFileSync(file, '{');
  await t.throwsAsync(checkNetwork(runtime, network(), attachment));
  await delNetwork(runtime, network(), attachment);
  t.is(calls[0]?.conf['prevResult'], undefined);
  t.false(existsSync(file));
});

test('a failed DEL keeps the result for the next', async (t) => {
  const {runtime} = fakeRuntime((called) => (called.verb === 'DEL' ? new Error('no') : growing(called)));
  await addNetwork(runtime, network(), attachment);
  const error = await t.throwsAsync(delNetwork(runtime, network(), attachment));
  t.is(describeFailure(error), 'plugin type="b" failed (delete): no');
  t.is(listCached(runtime.cacheFolder, 'net1').length, 1);
});

test('a result of another version is converted to that of the network', async (t) => {
  const {runtime, calls} = fakeRuntime(growing);
  await addNetwork(runtime, network({cniVersion: '0.4.0'}), attachment);
  await checkNetwork(runtime, network(), attachment);
  t.deepEqual(calls.at(-1)?.conf['prevResult'], {
    cniVersion: '1.1.0',
    interfaces: [{name: 'a'}, {name: 'b'}],
  });
});

test('a cache file from before it had a format is the result itself', async (t) => {
  const {runtime, calls} = fakeRuntime();
  mkdirSync(join(runtime.cacheFolder, 'results'));
  writeFileSync(
    join(runtime.cacheFolder, 'results', 'net1-c1-eth0'),
    '{"cniVersion":"0.4.0","interfaces":[{"name":"x"}]}',
  );
  await checkNetwork(runtime, network(), attachment);
  t.deepEqual(calls[0]?.conf['prevResult'], {cniVersion: '1.1.0', interfaces: [{name: 'x'}]});
});

test('CHECK runs front to back and stops at the first error, which is as the plugin said it', async (t) => {
  const {runtime, order} = fakeRuntime(({plugin}) =>
    plugin === 'b' ? new CniError(999, 'gone') : undefined,
  );
  const three = network({plugins: [{type: 'a'}, {type: 'b'}, {type: 'c'}]});
  await t.throwsAsync(checkNetwork(runtime, three, attachment), {message: 'gone'});
  t.deepEqual(order(), ['CHECK a', 'CHECK b']);
});

test('CHECK is refused before 0.4.0, and nothing with disableCheck', async (t) => {
  const {runtime, calls} = fakeRuntime();
  await t.throwsAsync(checkNetwork(runtime, network({cniVersion: '0.3.1'}), attachment), {
    message: 'configuration version "0.3.1" does not support the CHECK command',
  });
  await checkNetwork(runtime, network({disableCheck: true}), attachment);
  t.is(calls.length, 0);
});

test('GC sends a DEL for what is stale, then GC with the list in both spellings', async (t) => {
  const {runtime, calls, order} = fakeRuntime(growing);
  for (const containerId of ['c1', 'c2']) await addNetwork(runtime, network(), {...attachment, containerId});
  await addNetwork(runtime, network({name: 'other'}), attachment);
  calls.length = 0;
  const valid = [{containerId: 'c2', ifName: 'eth0'}];
  t.deepEqual(
    listStale(runtime, network(), valid).map(({containerId}) => containerId),
    ['c1'],
  );
  await gcNetwork(runtime, network(), valid);
  t.deepEqual(order(), ['DEL b', 'DEL a', 'GC a', 'GC b']);
  t.like(calls[0]?.env, {CNI_CONTAINERID: 'c1', CNI_NETNS: '/run/netns/c1'});
  const list = [{containerID: 'c2', ifname: 'eth0'}];
  t.deepEqual(calls[2]?.conf, {
    cniVersion: '1.1.0',
    name: 'net1',
    type: 'a',
    'cni.dev/valid-attachments': list,
    'cni.dev/attachments': list,
  });
  t.like(calls[2]?.env, {CNI_CONTAINERID: '', CNI_NETNS: '', CNI_IFNAME: ''});
  t.is(listCached(runtime.cacheFolder, 'other').length, 1);
});

test('GC without a list tells the plugins of none', async (t) => {
  const {runtime, calls} = fakeRuntime();
  await gcNetwork(runtime, network(), undefined);
  t.deepEqual(calls[0]?.conf, {cniVersion: '1.1.0', name: 'net1', type: 'a'});
});

test('GC goes on after errors and reports them all', async (t) => {
  const {runtime, order} = fakeRuntime((called) =>
    called.verb === 'ADD' ? growing(called) : new Error(called.plugin),
  );
  await addNetwork(runtime, network(), attachment);
  const error = await t.throwsAsync(gcNetwork(runtime, network(), []));
  t.deepEqual(order().slice(2), ['DEL b', 'GC a', 'GC b']);
  t.is(
    describeFailure(error),
    'failed to delete stale attachment c1 eth0: plugin type="b" failed (delete): b; failed to GC plugin a: a; failed to GC plugin b: b',
  );
});

test('GC before 1.1.0 is the DELs alone, and nothing with disableGC', async (t) => {
  const {runtime, calls, order} = fakeRuntime(growing);
  const old = network({cniVersion: '1.0.0'});
  await addNetwork(runtime, old, attachment);
  await gcNetwork(runtime, network({disableGC: true}), []);
  t.is(calls.length, 2);
  await gcNetwork(runtime, old, []);
  t.deepEqual(order().slice(2), ['DEL b', 'DEL a']);
});

test('STATUS throws the first error as it is, and is nothing before 1.1.0', async (t) => {
  const {runtime, order} = fakeRuntime(() => new CniError(50, 'full'));
  const error = await t.throwsAsync(statusNetwork(runtime, network()));
  t.like(error, {code: 50, message: 'full'});
  await statusNetwork(runtime, network({cniVersion: '1.0.0'}));
  t.deepEqual(order(), ['STATUS a']);
});

test('of two spellings of a key the runtime’s own is the later', async (t) => {
  const {runtime, calls} = fakeRuntime();
  const plugins = [{type: 'a', capabilities: {mac: true}, RuntimeConfig: {mac: 'file'}}];
  await addNetwork(runtime, network({plugins}), {...attachment, capabilityArgs: {mac: 'runtime'}});
  const keys = Object.keys(calls[0]?.conf ?? {});
  t.true(keys.indexOf('RuntimeConfig') < keys.indexOf('runtimeConfig'));
});

const probes = test.macro(async (t, answer: string | Error, expected: readonly string[] | RegExp) => {
  const {runtime, calls} = fakeRuntime(() => answer);
  if (expected instanceof RegExp) await t.throwsAsync(probeVersions(runtime, 'a'), {message: expected});
  else t.deepEqual(await probeVersions(runtime, 'a'), expected);
  t.like(calls[0]?.env, {CNI_COMMAND: 'VERSION', CNI_NETNS: 'dummy', CNI_IFNAME: 'dummy', CNI_PATH: 'dummy'});
  t.deepEqual(calls[0]?.conf, {cniVersion: '1.1.0'});
});

test('a plugin says its versions', probes, '{"cniVersion":"1.0.0","supportedVersions":["0.4.0","1.0.0"]}', [
  '0.4.0',
  '1.0.0',
]);
test('a plugin of 0.2.0 says none', probes, '{"cniVersion":"0.2.0"}', ['0.1.0', '0.2.0']);
test('a plugin without VERSION is of 0.1.0', probes, new CniError(100, 'unknown CNI_COMMAND: VERSION'), [
  '0.1.0',
]);
test('a plugin that fails fails', probes, new CniError(100, 'no'), /^no$/);
test('an answer without a version', probes, '{}', /missing field cniVersion$/);
test('an answer without versions', probes, '{"cniVersion":"1.0.0"}', /missing field supportedVersions$/);
test('an answer that is no JSON', probes, 'x', /^decoding version info$/);

test('every plugin of a network must be there and speak its version', async (t) => {
  const {runtime} = fakeRuntime(({plugin}) =>
    JSON.stringify({cniVersion: '1.1.0', supportedVersions: plugin === 'a' ? ['1.1.0'] : ['1.0.0']}),
  );
  await checkPlugins(runtime, network({plugins: [{type: 'a'}]}));
  const error = await t.throwsAsync(
    checkPlugins(runtime, network({plugins: [{type: 'a'}, {type: 'b'}, {type: 'x'}]})),
  );
  t.regex(
    describeFailure(error),
    /^plugin b does not support config version "1\.1\.0"; failed to find plugin "x" in path/,
  );
});
