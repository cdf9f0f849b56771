import {mkdtempSync, readFileSync, writeFileSync} from 'node:fs';
import {tmpdir} from 'node:os';
import {join} from 'node:path';
import test from 'ava';
import {main} from '../../cli/cnitool.ts';
import {scriptFolder} from '../lib/cni/scripts.ts';

const record = `echo "$CNI_COMMAND $CNI_CONTAINERID $CNI_NETNS $CNI_IFNAME $CNI_ARGS" >> "$LOG"; cat >> "$LOG"; echo >> "$LOG"`;

/** The tool with a network "net1" of one plugin that writes down how it is called. */
function cnitool(script = `${record}; echo '{"cniVersion":"1.1.0","ips":[{"address":"10.0.0.2/24"}]}'`) {
  const folder = mkdtempSync(join(tmpdir(), 'weft-cnitool-'));
  const log = join(folder, 'log');
  writeFileSync(log, '');
  writeFileSync(
    join(folder, 'net1.conflist'),
    JSON.stringify({cniVersion: '1.1.0', name: 'net1', plugins: [{type: 'x', capabilities: {mac: true}}]}),
  );
  const base = {
    CNI_PATH: scriptFolder({x: script}),
    NETCONFPATH: folder,
    CNI_CACHE_DIR: folder,
    LOG: log,
    PATH: process.env['PATH'],
  };
  return async (args: string, env: Record<string, string> = {}) => {
    let [stdout, stderr] = ['', ''];
    const code = await main(args.split(' ').filter(Boolean), {
      env: {...base, ...env},
      stdout: async (text) => void (stdout += text),
      stderr: (text) => void (stderr += text),
    });
    const lines = readFileSync(log, 'utf8').trim().split('\n');
    return {code, stdout, stderr, lines};
  };
}

// printf %s /var/run/netns/testing | sha512sum | cut -c1-20
const id = 'cnitool-77383ca0a0715733ca6f';

test('add prints the result', async (t) => {
  const {code, stdout, stderr, lines} = await cnitool()('add net1 /var/run/netns/testing');
  t.is(
    stdout,
    '{\n    "cniVersion": "1.1.0",\n    "ips": [\n        {\n            "address": "10.0.0.2/24"\n        }\n    ]\n}',
  );
  t.deepEqual({code, stderr}, {code: 0, stderr: ''});
  t.is(lines[0], `ADD ${id} /var/run/netns/testing eth0 `);
});

test('a name is a namespace of ip netns', async (t) => {
  const {lines} = await cnitool()('add net1 testing');
  t.is(lines[0], `ADD ${id} /var/run/netns/testing eth0 `);
});

test('the interface comes from the option, then from CNI_IFNAME', async (t) => {
  for (const [args, expected] of [
    ['add net1 testing', 'e1'],
    ['add -i e2 net1 testing', 'e2'],
    ['--ifname=e3 add net1 testing', 'e3'],
  ] as const) {
    const {lines} = await cnitool()(args, {CNI_IFNAME: 'e1'});
    t.is(lines[0], `ADD ${id} /var/run/netns/testing ${expected} `);
  }
});

test('CNI_ARGS and CAP_ARGS reach the plugin', async (t) => {
  const {lines} = await cnitool()('add net1 testing', {
    CNI_ARGS: 'A=1;B=2',
    CAP_ARGS: '{"mac":"x","ips":[]}',
  });
  t.is(lines[0], `ADD ${id} /var/run/netns/testing eth0 A=1;B=2`);
  t.deepEqual((JSON.parse(lines[1]!) as {runtimeConfig: object}).runtimeConfig, {mac: 'x'});
});

test('check and del get the result of add; then it is forgotten', async (t) => {
  const tool = cnitool();
  await tool('add net1 testing');
  for (const verb of ['check', 'del']) {
    const {code, stdout, lines} = await tool(`${verb} net1 testing`);
    t.deepEqual({code, stdout}, {code: 0, stdout: ''});
    t.like(JSON.parse(lines.at(-1)!), {prevResult: {ips: [{address: '10.0.0.2/24'}]}});
  }
  const {lines} = await tool('del net1 testing');
  t.false('prevResult' in (JSON.parse(lines.at(-1)!) as object));
});

test('gc removes what is attached and tells the plugins that nothing is in use', async (t) => {
  const tool = cnitool();
  await tool('add net1 testing');
  const {code, lines} = await tool('gc net1 testing');
  t.is(code, 0);
  t.is(lines[2], `DEL ${id} /var/run/netns/testing eth0 `);
  t.like(JSON.parse(lines.at(-1)!), {'cni.dev/valid-attachments': [], 'cni.dev/attachments': []});
});

test('status asks the plugins', async (t) => {
  const {code, lines} = await cnitool()('status net1 testing');
  t.is(code, 0);
  t.is(lines[0], 'STATUS    ');
});

test('an error goes to stderr, with exit code 1', async (t) => {
  const {code, stdout, stderr} = await cnitool(`echo '{"code":11,"msg":"later","details":"d"}'; exit 1`)(
    'add net1 testing',
  );
  t.deepEqual(
    {code, stdout, stderr},
    {code: 1, stdout: '', stderr: 'plugin type="x" failed (add): later; d\n'},
  );
});

const refuses = test.macro(async (t, args: string, stderr: RegExp, env: Record<string, string> = {}) => {
  const result = await cnitool()(args, env);
  t.is(result.code, 1);
  t.regex(result.stderr, stderr);
  t.deepEqual(result.lines, ['']);
});

test('no network', refuses, 'add net2 testing', /^no net configuration with name "net2" in /);
test('no arguments', refuses, '', /^cnitool: Add, check, remove, gc or status network interfaces/);
test('too few arguments', refuses, 'add net1', /^cnitool: /);
test('another verb', refuses, 'toString net1 testing', /^cnitool: /);
test('bad CNI_ARGS', refuses, 'add net1 testing', /^invalid CNI_ARGS pair "A"/, {CNI_ARGS: 'A'});
test('bad CAP_ARGS', refuses, 'add net1 testing', /^invalid CAP_ARGS: /, {CAP_ARGS: '[]'});

test('help is no error', async (t) => {
  t.is((await cnitool()('help')).code, 0);
});
