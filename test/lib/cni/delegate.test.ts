import test from 'ava';
import type {Command} from '../../../lib/cni/plugin.ts';
import {CniError} from '../../../lib/cni/error.ts';
import type {Result} from '../../../lib/cni/types.ts';
import {formatCidr, parseCidr} from '../../../lib/ip/cidr.ts';
import {emptyResult, environment, fakePlugin, run} from './helpers.ts';
import {scriptFolder} from './scripts.ts';

const addresses: Result = {
  ...emptyResult,
  ips: ['10.0.0.2/24', '10.1.0.2/24', '2001:db8::2/64'].map((text) => ({address: parseCidr(text)!})),
};

/** A plugin whose ADD is what its IPAM says; `verb` is what it asks of it. */
function delegator(verb: Command = 'ADD') {
  return fakePlugin({
    name: 'delegator',
    async add(call) {
      return (await call.delegate('ipam', verb)) ?? emptyResult;
    },
  });
}

const stdin = (cniVersion: string) =>
  JSON.stringify({cniVersion, name: 'n', ipam: {type: 'ipam'}, x: '\u00e9'});

test('a foreign delegate gets the same environment but for the verb, and the whole configuration', async (t) => {
  const folder = scriptFolder({
    ipam: 'echo "$CNI_COMMAND $CNI_CONTAINERID $CNI_NETNS $CNI_IFNAME $CNI_ARGS $CNI_PATH $OTHER" >&2; cat >&2; echo "{}"',
  });
  const env = environment({CNI_PATH: folder, CNI_ARGS: 'A=B', OTHER: 'x', PATH: process.env['PATH']});
  const {code, stderr} = await run(delegator('CHECK'), {env, stdin: stdin('1.0.0')});
  t.is(code, 0);
  t.is(stderr, `CHECK container1 /no/such/netns eth0 A=B ${folder} x\n${stdin('1.0.0')}`);
});

test("a foreign delegate's result is read in the version it states", async (t) => {
  const folder = scriptFolder({ipam: `echo '{"cniVersion":"0.2.0","ip4":{"ip":"10.0.0.2/24"}}'`});
  const {stdout} = await run(delegator(), {env: environment({CNI_PATH: folder}), stdin: stdin('1.0.0')});
  t.deepEqual(JSON.parse(stdout), {cniVersion: '1.0.0', ips: [{address: '10.0.0.2/24'}]});
});

test("a foreign delegate's error is the plugin's", async (t) => {
  const folder = scriptFolder({ipam: `echo '{"code":11,"msg":"later","details":"d"}'; exit 1`});
  const {stdout} = await run(delegator(), {env: environment({CNI_PATH: folder}), stdin: stdin('1.0.0')});
  t.deepEqual(JSON.parse(stdout), {code: 11, msg: 'later', details: 'd'});
});

test('a delegate that does not end is killed after WEFT_DELEGATE_TIMEOUT_MS', async (t) => {
  const folder = scriptFolder({ipam: 'exec sleep 60'});
  const env = environment({CNI_PATH: folder, WEFT_DELEGATE_TIMEOUT_MS: '100', PATH: process.env['PATH']});
  t.like(JSON.parse((await run(delegator(), {env, stdin: stdin('1.0.0')})).stdout), {code: 11});
});

test('a delegate of our own is called in process, with its own environment', async (t) => {
  const folder = scriptFolder({ipam: 'exit 1'});
  const builtin = fakePlugin();
  const findBuiltin = (file: string) => (file === `${folder}/ipam` ? builtin : undefined);
  const env = environment({CNI_PATH: folder, CNI_ARGS: 'A=B'});
  const {code} = await run(delegator('DEL'), {env, stdin: stdin('1.0.0'), findBuiltin});
  t.is(code, 0);
  t.like(builtin.calls[0], {command: 'DEL', containerId: 'container1', args: 'A=B', stdin: stdin('1.0.0')});
  t.is(builtin.calls[0]?.env['CNI_COMMAND'], 'DEL');
});

test('a delegate may get another configuration, in process and from a file', async (t) => {
  const folder = scriptFolder({ipam: 'cat >&2; echo "{}"'});
  const conf = {cniVersion: '1.0.0', name: 'other', x: [1]};
  const plugin = fakePlugin({
    name: 'delegator',
    async add(call) {
      return (await call.delegate('ipam', 'ADD', conf)) ?? emptyResult;
    },
  });
  const env = environment({CNI_PATH: folder, PATH: process.env['PATH']});
  const {stderr} = await run(plugin, {env, stdin: stdin('1.0.0')});
  t.is(stderr, JSON.stringify(conf));
  const builtin = fakePlugin();
  await run(plugin, {env, stdin: stdin('1.0.0'), findBuiltin: () => builtin});
  t.like(builtin.calls[0], {stdin: JSON.stringify(conf), conf, name: 'other', containerId: 'container1'});
});

for (const [cniVersion, expected] of [
  ['1.0.0', ['10.0.0.2/24', '10.1.0.2/24', '2001:db8::2/64']],
  ['0.4.0', ['10.0.0.2/24', '10.1.0.2/24', '2001:db8::2/64']],
  ['0.2.0', ['10.0.0.2/24', '2001:db8::2/64']],
] as const) {
  test(`at ${cniVersion} a result in process says what it would say from another process`, async (t) => {
    const folder = scriptFolder({ipam: 'exit 1'});
    let seen: readonly string[] = [];
    const plugin = fakePlugin({
      name: 'delegator',
      async add(call) {
        const result = await call.delegate('ipam', 'ADD');
        seen = result!.ips.map(({address}) => formatCidr(address));
        return result!;
      },
    });
    const findBuiltin = () => fakePlugin({add: async () => addresses});
    await run(plugin, {env: environment({CNI_PATH: folder}), stdin: stdin(cniVersion), findBuiltin});
    t.deepEqual(seen, expected);
  });
}

test('a result in process that the version cannot say is undone', async (t) => {
  const folder = scriptFolder({ipam: 'exit 1'});
  const builtin = fakePlugin();
  const {stdout} = await run(delegator(), {
    env: environment({CNI_PATH: folder}),
    stdin: stdin('0.2.0'),
    findBuiltin: () => builtin,
  });
  t.like(JSON.parse(stdout), {code: 999, msg: 'cannot convert: no valid IP addresses'});
  t.deepEqual(
    builtin.calls.map(({command}) => command),
    ['ADD', 'DEL'],
  );
});

test('in process the same checks are made: a version the delegate does not speak', async (t) => {
  const folder = scriptFolder({ipam: 'exit 1'});
  const findBuiltin = () => ({...fakePlugin(), versions: ['0.4.0']});
  const {stdout} = await run(delegator(), {
    env: environment({CNI_PATH: folder}),
    stdin: stdin('1.0.0'),
    findBuiltin,
  });
  t.like(JSON.parse(stdout), {code: 1, msg: 'incompatible CNI versions'});
});

test('a plugin that would call itself for ever is refused', async (t) => {
  const folder = scriptFolder({ipam: 'exit 1'});
  for (const command of ['ADD', 'DEL', 'STATUS'] as const) {
    const plugin = delegator(command);
    const {stdout} = await run(plugin, {
      env: environment({CNI_PATH: folder}),
      stdin: stdin('1.1.0'),
      findBuiltin: () => plugin,
    });
    t.like(JSON.parse(stdout), {code: 7, msg: 'plugin delegator delegates to itself'});
  }
});

test('in process an error comes back as it is', async (t) => {
  const folder = scriptFolder({ipam: 'exit 1'});
  const findBuiltin = () => fakePlugin({add: () => Promise.reject(new CniError(50, 'full', 'd'))});
  const {stdout} = await run(delegator(), {
    env: environment({CNI_PATH: folder}),
    stdin: stdin('1.0.0'),
    findBuiltin,
  });
  t.deepEqual(JSON.parse(stdout), {code: 50, msg: 'full', details: 'd'});
});

test('a delegate that is nowhere is said as the reference says it', async (t) => {
  const {stdout} = await run(delegator(), {env: environment({CNI_PATH: '/a:/b'}), stdin: stdin('1.0.0')});
  t.like(JSON.parse(stdout), {msg: 'failed to find plugin "ipam" in path [/a /b]'});
});
