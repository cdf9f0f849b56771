import {mkdtempSync, readFileSync, symlinkSync, writeFileSync} from 'node:fs';
import {tmpdir} from 'node:os';
import {join} from 'node:path';
import test from 'ava';
import {CniError, errorCodes} from '../../../lib/cni/error.ts';
import {parseCidr} from '../../../lib/ip/cidr.ts';
import {specVersions} from '../../../lib/cni/versions.ts';
import {emptyResult, environment, fakePlugin, run} from './helpers.ts';

const ipResult = {...emptyResult, ips: [{address: parseCidr('10.0.0.2/24')!}]};
const failure = (code: number, msg: string, details?: string) =>
  JSON.stringify({code, msg, ...(details !== undefined && {details})}, undefined, 4);
const conf = (conf: object) => JSON.stringify({cniVersion: '1.0.0', name: 'net1', ...conf});

test('VERSION is one line, reads nothing and needs no other variable', async (t) => {
  const plugin = fakePlugin();
  const {code, stdout, reads} = await run(plugin, {env: {CNI_COMMAND: 'VERSION'}, stdin: 'not JSON'});
  t.is(
    stdout,
    '{"cniVersion":"1.1.0","supportedVersions":["0.1.0","0.2.0","0.3.0","0.3.1","0.4.0","1.0.0","1.1.0"]}\n',
  );
  t.deepEqual({code, reads, calls: plugin.calls.length}, {code: 0, reads: 0, calls: 0});
});

for (const command of [undefined, '']) {
  test(`CNI_COMMAND ${JSON.stringify(command)} says on stderr what this is, and succeeds`, async (t) => {
    const {code, stdout, stderr} = await run(fakePlugin(), {env: environment({CNI_COMMAND: command})});
    t.regex(
      stderr,
      /^CNI fake plugin weft v\d+\.\d+\.\d+\nCNI protocol versions supported: 0\.1\.0, 0\.2\.0, .*1\.1\.0\n$/,
    );
    t.deepEqual({code, stdout}, {code: 0, stdout: ''});
  });
}

const variables = ['CNI_CONTAINERID', 'CNI_NETNS', 'CNI_IFNAME', 'CNI_ARGS', 'CNI_PATH'];
const required: Record<string, readonly string[]> = {
  ADD: ['CNI_CONTAINERID', 'CNI_NETNS', 'CNI_IFNAME', 'CNI_PATH'],
  CHECK: ['CNI_CONTAINERID', 'CNI_NETNS', 'CNI_IFNAME', 'CNI_PATH'],
  DEL: ['CNI_CONTAINERID', 'CNI_IFNAME', 'CNI_PATH'],
  GC: ['CNI_PATH'],
  STATUS: ['CNI_PATH'],
  FOO: [],
};

for (const [command, needs] of Object.entries(required)) {
  test(`${command} without any variable names those it requires`, async (t) => {
    const {stdout, code} = await run(fakePlugin(), {env: {CNI_COMMAND: command}});
    const expected =
      needs.length > 0
        ? failure(4, `required env variables [${needs.join(',')}] missing`)
        : failure(4, 'unknown CNI_COMMAND: FOO');
    t.deepEqual({stdout, code}, {stdout: expected, code: 1});
  });

  for (const variable of variables) {
    test(`${command} without ${variable}`, async (t) => {
      const env = environment({CNI_COMMAND: command, [variable]: undefined});
      const stdin = conf({cniVersion: '1.1.0', 'cni.dev/valid-attachments': []});
      const {stdout} = await run(fakePlugin(), {env, stdin});
      const isMissing = stdout === failure(4, `required env variables [${variable}] missing`);
      t.is(isMissing, needs.includes(variable));
    });
  }
}

const invalidId = 'invalid characters in containerID';
const longName = ['interface name is too long', 'interface name should be less than 16 characters'] as const;
const badName = 'interface name contains / or : or whitespace characters';
const invalidVariables: readonly (readonly [Record<string, string>, string, string?])[] = [
  [{CNI_CONTAINERID: '-x'}, invalidId, '-x'],
  [{CNI_CONTAINERID: 'a/b'}, invalidId, 'a/b'],
  [{CNI_CONTAINERID: 'a\n'}, invalidId, 'a\n'],
  [{CNI_IFNAME: 'sixteen-bytes-16'}, ...longName],
  [{CNI_IFNAME: 'éééééééé'}, ...longName],
  [{CNI_IFNAME: '.'}, 'interface name is . or ..'],
  [{CNI_IFNAME: '..'}, 'interface name is . or ..'],
  [{CNI_IFNAME: 'a/b'}, badName],
  [{CNI_IFNAME: 'a:1'}, badName],
  [{CNI_IFNAME: 'a b'}, badName],
  [{CNI_IFNAME: 'a\u00a0b'}, badName],
  [{CNI_IFNAME: 'a\u0085b'}, badName],
  [{CNI_CONTAINERID: '-x', CNI_IFNAME: '..'}, invalidId, '-x'],
  [{CNI_CONTAINERID: '-x', CNI_PATH: ''}, invalidId, '-x'],
];

for (const [env, msg, details] of invalidVariables) {
  test(`refuses ${new URLSearchParams(env).toString()}`, async (t) => {
    const {stdout} = await run(fakePlugin(), {env: environment(env)});
    t.is(stdout, failure(4, msg, details));
  });
}

test('GC and STATUS do not look at a container id or an interface', async (t) => {
  for (const CNI_COMMAND of ['GC', 'STATUS']) {
    const env = environment({CNI_COMMAND, CNI_CONTAINERID: '//', CNI_IFNAME: '//'});
    const stdin = conf({cniVersion: '1.1.0', 'cni.dev/valid-attachments': []});
    const plugin = fakePlugin();
    t.is((await run(plugin, {env, stdin})).code, 0);
    t.like(plugin.calls[0], {containerId: '', netns: '', ifName: ''});
  }
});

const badConfigurations: readonly (readonly [string, number, RegExp])[] = [
  ['', 6, /^error unmarshall network config: Unexpected end of JSON input$/],
  ['{', 6, /^error unmarshall network config: /],
  ['[]', 6, /^error unmarshall network config: it is not an object$/],
  ['"x"', 6, /^error unmarshall network config: it is not an object$/],
  ['null', 7, /^missing network name$/],
  ['{}', 7, /^missing network name$/],
  ['{"name":null}', 7, /^missing network name$/],
  ['{"name":""}', 7, /^missing network name$/],
  ['{"name":5}', 6, /^error unmarshall network config: name: expected a string, found 5$/],
  ['{"name":"a/b"}', 7, /^invalid characters found in network name$/],
  ['{"name":"n","cniVersion":1}', 6, /^decoding version from network config: /],
];

for (const [stdin, code, msg] of badConfigurations) {
  test(`refuses the configuration ${JSON.stringify(stdin)}, whatever the verb`, async (t) => {
    for (const CNI_COMMAND of ['ADD', 'FOO']) {
      if (CNI_COMMAND === 'FOO' && stdin.includes('cniVersion')) continue;
      const {stdout} = await run(fakePlugin(), {env: environment({CNI_COMMAND}), stdin});
      const error = JSON.parse(stdout) as {code: number; msg: string};
      t.is(error.code, code);
      t.regex(error.msg, msg);
    }
  });
}

test('a failure to read stdin is error 5', async (t) => {
  const io = {stdin: () => Promise.reject(new Error('EIO'))};
  t.is((await run(fakePlugin(), {io})).stdout, failure(5, 'error reading from stdin: EIO'));
});

test('name and cniVersion are found in any spelling', async (t) => {
  const plugin = fakePlugin();
  const {code} = await run(plugin, {stdin: '{"NAME":"n1","CniVersion":"0.4.0","cniversion":null}'});
  t.is(code, 0);
  t.like(plugin.calls[0], {name: 'n1', cniVersion: '0.4.0'});
});

test('a configuration without a version is of 0.1.0', async (t) => {
  const plugin = fakePlugin({add: async () => ipResult});
  const {stdout} = await run(plugin, {stdin: '{"name":"n1"}'});
  t.like(JSON.parse(stdout), {cniVersion: '0.1.0', ip4: {ip: '10.0.0.2/24'}});
});

const supported = specVersions.map((version) => `"${version}"`).join(' ');
const versionRules: readonly (readonly [
  command: string,
  version: string,
  code: number,
  msg: string,
  details?: string,
])[] = [
  ['ADD', '9.9', 1, 'incompatible CNI versions', `config is "9.9", plugin supports [${supported}]`],
  ['ADD', '1.0', 1, 'incompatible CNI versions', `config is "1.0", plugin supports [${supported}]`],
  ['DEL', 'abc', 1, 'incompatible CNI versions', `config is "abc", plugin supports [${supported}]`],
  ['CHECK', '0.3.1', 1, 'config version does not allow CHECK', '"0.3.1" is older than 0.4.0'],
  ['CHECK', '0.4.1', 1, 'incompatible CNI versions', `config is "0.4.1", plugin supports [${supported}]`],
  [
    'CHECK',
    '9.9.9',
    1,
    'plugin version does not allow CHECK',
    `config is "9.9.9", plugin supports [${supported}]`,
  ],
  [
    'CHECK',
    'abc',
    6,
    'failed to convert major version part "abc"',
    'a version of the CNI specification looks like "1.0.0"',
  ],
  ['GC', '1.0.0', 1, 'config version does not allow GC', '"1.0.0" is older than 1.1.0'],
  ['GC', '1.2.0', 1, 'plugin version does not allow GC', `config is "1.2.0", plugin supports [${supported}]`],
  ['STATUS', '0.4.0', 1, 'config version does not allow STATUS', '"0.4.0" is older than 1.1.0'],
  [
    'STATUS',
    '1.2.0',
    1,
    'plugin version does not allow STATUS',
    `config is "1.2.0", plugin supports [${supported}]`,
  ],
];

for (const [command, version, code, msg, details] of versionRules) {
  test(`${command} at ${version} is refused: ${msg}`, async (t) => {
    const plugin = fakePlugin();
    const env = environment({CNI_COMMAND: command});
    const {stdout} = await run(plugin, {env, stdin: conf({cniVersion: version})});
    t.is(stdout, failure(code, msg, details));
    t.is(plugin.calls.length, 0);
  });
}

const since: Record<string, string> = {
  ADD: '0.1.0',
  DEL: '0.1.0',
  CHECK: '0.4.0',
  GC: '1.1.0',
  STATUS: '1.1.0',
};
for (const [command, oldest] of Object.entries(since)) {
  for (const version of specVersions) {
    const isAllowed = specVersions.indexOf(version) >= specVersions.findIndex((entry) => entry === oldest);
    test(`${command} at ${version} ${isAllowed ? 'reaches the plugin' : 'does not reach the plugin'}`, async (t) => {
      const plugin = fakePlugin({add: async () => ipResult});
      const env = environment({CNI_COMMAND: command});
      const stdin = conf({cniVersion: version, 'cni.dev/valid-attachments': []});
      const {code, stdout} = await run(plugin, {env, stdin});
      t.is(code, isAllowed ? 0 : 1);
      t.is(stdout === '', isAllowed && command !== 'ADD');
    });
  }
}

test('the call carries what came in', async (t) => {
  const plugin = fakePlugin();
  const env = environment({CNI_ARGS: 'A=B', CNI_PATH: '/a::/b', OTHER: 'x'});
  const stdin = conf({mtu: 5});
  await run(plugin, {env, stdin});
  const [call] = plugin.calls;
  t.like(call, {
    command: 'ADD',
    containerId: 'container1',
    netns: '/no/such/netns',
    ifName: 'eth0',
    args: 'A=B',
    path: ['/a', '/b'],
    stdin,
    name: 'net1',
    cniVersion: '1.0.0',
  });
  t.is(call?.env['OTHER'], 'x');
  t.is(call?.conf['mtu'], 5);
});

const failures: readonly (readonly [string, unknown, string])[] = [
  ['a CniError as it is', new CniError(11, 'later', 'in a minute'), failure(11, 'later', 'in a minute')],
  ['any other error as 999', new Error('no luck'), failure(999, 'no luck')],
  ['what is no error', 'text', failure(999, 'text')],
  [
    'the chain of causes',
    new Error('attach veth1 to cni0', {cause: new Error('set master', {cause: new Error('EBUSY')})}),
    failure(999, 'attach veth1 to cni0: set master: EBUSY'),
  ],
  [
    'a cause that the message repeats, once',
    new Error('set master: EBUSY', {cause: new Error('EBUSY')}),
    failure(999, 'set master: EBUSY'),
  ],
  [
    'the code and details of a cause',
    new Error('IPAM', {cause: new CniError(11, 'later', 'in a minute')}),
    failure(11, 'IPAM: later', 'in a minute'),
  ],
  [
    'every error of a clean-up, once',
    new AggregateError([new Error('a'), new Error('b'), new Error('a')], 'clean up'),
    failure(999, 'clean up: a; b'),
  ],
  [
    'the code of the only error of a clean-up',
    new AggregateError([new CniError(11, 'later')]),
    failure(11, 'later'),
  ],
];

for (const [what, error, expected] of failures) {
  test(`a plugin that fails prints ${what}`, async (t) => {
    const {stdout, code} = await run(fakePlugin({add: () => Promise.reject(error)}));
    t.deepEqual({stdout, code}, {stdout: expected, code: 1});
  });
}

test('STATUS that fails without a code of its own is error 50', async (t) => {
  const stdin = conf({cniVersion: '1.1.0'});
  const env = environment({CNI_COMMAND: 'STATUS'});
  const fail = (error: Error) => run(fakePlugin({status: () => Promise.reject(error)}), {env, stdin});
  t.is((await fail(new Error('no luck'))).stdout, failure(50, 'no luck'));
  t.is((await fail(new CniError(7, 'bad', 'd'))).stdout, failure(7, 'bad', 'd'));
});

test('an error without details or trailing newline is printed with four spaces', async (t) => {
  const {stdout} = await run(fakePlugin(), {stdin: '{}'});
  t.is(stdout, '{\n    "code": 7,\n    "msg": "missing network name"\n}');
});

test('every error code is distinct', (t) => {
  const codes = Object.values(errorCodes);
  t.is(new Set(codes).size, codes.length);
});

const attachmentLists: readonly (readonly [string, object, number])[] = [
  ['no list', {}, 7],
  ['null', {'cni.dev/valid-attachments': null}, 7],
  ['a list in the old spelling', {'cni.dev/attachments': []}, 0],
  ['an empty list', {'cni.dev/valid-attachments': []}, 0],
  ['no list at all', {'cni.dev/valid-attachments': {}}, 7],
  ['an entry without an interface', {'cni.dev/valid-attachments': [{containerID: 'a'}]}, 7],
  ['an entry that is text', {'cni.dev/valid-attachments': ['a']}, 7],
];

for (const [what, list, code] of attachmentLists) {
  test(`GC with ${what} ${code === 0 ? 'reaches the plugin' : 'is error 7 and does not reach it'}`, async (t) => {
    const plugin = fakePlugin();
    const env = environment({CNI_COMMAND: 'GC'});
    const {stdout} = await run(plugin, {env, stdin: conf({cniVersion: '1.1.0', ...list})});
    t.is(stdout === '' ? 0 : (JSON.parse(stdout) as {code: number}).code, code);
    t.is(plugin.calls.length, code === 0 ? 1 : 0);
  });
}

const ownNetns = "plugin's netns and netns from CNI_NETNS should not be the same";

test('ADD into our own namespace is error 8, before anything is done', async (t) => {
  const plugin = fakePlugin();
  const {stdout} = await run(plugin, {env: environment({CNI_NETNS: '/proc/self/ns/net'})});
  t.is(stdout, failure(8, ownNetns, 'CNI_NETNS_OVERRIDE=1 allows it'));
  t.is(plugin.calls.length, 0);
});

test('our own namespace is recognised behind a link', async (t) => {
  const link = join(mkdtempSync(join(tmpdir(), 'weft-')), 'netns');
  symlinkSync(`/proc/${process.pid}/ns/net`, link);
  t.like(JSON.parse((await run(fakePlugin(), {env: environment({CNI_NETNS: link})})).stdout), {code: 8});
});

test('DEL for our own namespace cleans up outside of it, then is error 8', async (t) => {
  const plugin = fakePlugin();
  const env = environment({CNI_COMMAND: 'DEL', CNI_NETNS: '/proc/self/ns/net'});
  const {stdout} = await run(plugin, {env});
  t.like(JSON.parse(stdout), {code: 8, msg: ownNetns});
  t.is(plugin.calls[0]?.netns, '');
  t.is(plugin.calls[0]?.env['CNI_NETNS'], '');
});

for (const CNI_NETNS_OVERRIDE of ['1', 'true', 'TRUE']) {
  test(`CNI_NETNS_OVERRIDE=${CNI_NETNS_OVERRIDE} allows our own namespace`, async (t) => {
    const env = environment({CNI_NETNS: '/proc/self/ns/net', CNI_NETNS_OVERRIDE});
    t.is((await run(fakePlugin(), {env})).code, 0);
  });
}

test('CHECK does not compare namespaces', async (t) => {
  const env = environment({CNI_COMMAND: 'CHECK', CNI_NETNS: '/proc/self/ns/net', CNI_NETNS_OVERRIDE: 'no'});
  t.is((await run(fakePlugin(), {env})).code, 0);
});

test('a result that the version cannot say is undone', async (t) => {
  const plugin = fakePlugin();
  const {stdout, code} = await run(plugin, {stdin: conf({cniVersion: '0.2.0'})});
  t.deepEqual({stdout, code}, {stdout: failure(999, 'cannot convert: no valid IP addresses'), code: 1});
  t.deepEqual(
    plugin.calls.map(({command}) => command),
    ['ADD', 'DEL'],
  );
  t.is(plugin.calls[1]?.env['CNI_COMMAND'], 'DEL');
});

test('a result that nobody reads is undone', async (t) => {
  const plugin = fakePlugin();
  const io = {stdout: () => Promise.reject(new Error('EPIPE'))};
  const {code, stderr} = await run(plugin, {io});
  t.is(code, 1);
  t.regex(stderr, /fake: EPIPE; cannot report it/);
  t.deepEqual(
    plugin.calls.map(({command}) => command),
    ['ADD', 'DEL'],
  );
});

const logs: readonly (readonly [string, object, Record<string, string>, boolean])[] = [
  ['nothing by default', {}, {}, false],
  ['at the level of the configuration', {logLevel: 'debug'}, {}, true],
  ['at the level of WEFT_LOG', {}, {WEFT_LOG: 'debug'}, true],
  ['at the level of the configuration rather than WEFT_LOG', {logLevel: 'error'}, {WEFT_LOG: 'debug'}, false],
];

for (const [what, keys, env, isLogged] of logs) {
  test(`logs ${what}`, async (t) => {
    const file = join(mkdtempSync(join(tmpdir(), 'weft-')), 'log', 'weft.log');
    const plugin = fakePlugin({
      async check(call) {
        call.log.debug({mtu: 5}, 'looked');
      },
    });
    // With a file and no level, what matters is logged: set one below it.
    const stdin = conf({
      logFile: file,
      logLevel: 'info',
      ...(env['WEFT_LOG'] ? {logLevel: null} : {}),
      ...keys,
    });
    const {code, stdout} = await run(plugin, {env: environment({CNI_COMMAND: 'CHECK', ...env}), stdin});
    t.deepEqual({code, stdout}, {code: 0, stdout: ''});
    const text = readFileSync(file, 'utf8');
    t.is(text.includes('looked'), isLogged);
    if (isLogged)
      t.like(JSON.parse(text.split('\n')[0]!), {
        plugin: 'fake',
        command: 'CHECK',
        containerId: 'container1',
        mtu: 5,
      });
  });
}

test('a log that cannot be written is a warning', async (t) => {
  const file = join(mkdtempSync(join(tmpdir(), 'weft-')), 'file');
  writeFileSync(file, '');
  const plugin = fakePlugin({
    async check(call) {
      call.log.info('looked');
    },
  });
  const stdin = conf({logFile: join(file, 'weft.log'), logLevel: 'loud'});
  const {code, stderr} = await run(plugin, {env: environment({CNI_COMMAND: 'CHECK'}), stdin});
  t.is(code, 0);
  t.regex(stderr, /^fake: unknown log level "loud": it is one of fatal, error, /);
  t.regex(stderr, /\nfake: cannot open the log: /);
});

test('a failure is in the log with its stack, which the runtime does not see', async (t) => {
  const file = join(mkdtempSync(join(tmpdir(), 'weft-')), 'weft.log');
  const plugin = fakePlugin({add: () => Promise.reject(new Error('no luck'))});
  const {stdout} = await run(plugin, {stdin: conf({logFile: file})});
  t.is(stdout, failure(999, 'no luck'));
  const line = JSON.parse(readFileSync(file, 'utf8')) as {msg: string; error: {stack: string}};
  t.is(line.msg, 'failed');
  t.regex(line.error.stack, /skel\.test/);
});
