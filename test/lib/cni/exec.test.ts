import {closeSync, mkdirSync, openSync} from 'node:fs';
import {join} from 'node:path';
import test from 'ava';
import type {CniError} from '../../../lib/cni/error.ts';
import {execPlugin} from '../../../lib/cni/exec.ts';
import {findInPath, splitPath} from '../../../lib/cni/find.ts';
import {scriptFolder} from './scripts.ts';

async function exec(
  script: string,
  options: {stdin?: string; timeoutMs?: number; busyDelayMs?: number} = {},
) {
  let said = '';
  const file = join(scriptFolder({plugin: script}), 'plugin');
  const env = {PATH: process.env['PATH'] ?? '', FOO: 'bar'};
  const stderr = (text: string) => void (said += text);
  const stdout = await execPlugin({file, env, stdin: options.stdin ?? '', stderr, ...options});
  return {stdout, said};
}

test('a plugin gets its environment and configuration; stderr is passed on', async (t) => {
  const {stdout, said} = await exec('cat; echo "$FOO" >&2; echo ok', {stdin: '{"x":1}\n'});
  t.deepEqual({stdout, said}, {stdout: '{"x":1}\nok\n', said: 'bar\n'});
});

test('a plugin need not read its configuration', async (t) => {
  const {stdout} = await exec('exec <&-; echo ok', {stdin: 'x'.repeat(1_000_000)});
  t.is(stdout, 'ok\n');
});

test('much output arrives whole', async (t) => {
  const {stdout} = await exec('cat', {stdin: 'x'.repeat(1_000_000)});
  t.is(stdout.length, 1_000_000);
});

const fails = test.macro(async (t, script: string, code: number, msg: RegExp, details?: string) => {
  const error = (await t.throwsAsync(exec(script, {timeoutMs: 10_000}))) as CniError;
  t.is(error.code, code);
  t.regex(error.message, msg);
  t.is(error.details, details ?? '');
});

test(
  'the error of a plugin comes back as it is',
  fails,
  `echo '{"code":11,"msg":"later","details":"d"}'; exit 1`,
  11,
  /^later$/,
  'd',
);
test('keys of an error match in any case', fails, `echo '{"Code":11,"MSG":"later"}'; exit 1`, 11, /^later$/);
test('an error without a code is 999', fails, `echo '{"msg":"x"}'; exit 1`, 999, /^x$/);
test(
  'a plugin that only says something on stderr',
  fails,
  'echo "no luck" >&2; exit 3',
  999,
  /^netplugin failed: "no luck\\n"$/,
);
test(
  'a plugin that says nothing',
  fails,
  'exit 3',
  999,
  /^netplugin failed with no error message: exit status 3$/,
);
test(
  'a plugin that is killed',
  fails,
  'kill -9 $$',
  999,
  /^netplugin failed with no error message: signal: SIGKILL$/,
);
test(
  'a plugin that fails with no JSON',
  fails,
  'echo oops; exit 1',
  999,
  /^netplugin failed but error parsing its diagnostic message "oops\\n": /,
);
test(
  'a plugin that fails with a list',
  fails,
  'echo []; exit 1',
  999,
  /diagnostic message "\[\]\\n": not an object$/,
);

test('a plugin that does not end is killed', async (t) => {
  const error = (await t.throwsAsync(exec('exec sleep 60', {timeoutMs: 200}))) as CniError;
  t.is(error.code, 11);
  t.regex(error.message, /did not end within 200 ms and was killed$/);
});

test('a daemon that a plugin leaves behind does not hold it up', async (t) => {
  const started = performance.now();
  const {stdout} = await exec('sleep 20 & echo $!');
  process.kill(Number(stdout));
  t.true(performance.now() - started < 10_000);
});

test('a file that is not executable is named', async (t) => {
  const folder = scriptFolder({});
  const file = join(folder, 'plugin');
  mkdirSync(file);
  const error = await t.throwsAsync(execPlugin({file, env: {}, stdin: '', stderr: () => {}}));
  t.regex(error?.message ?? '', /^netplugin failed with no error message: cannot execute .*plugin: EACCES$/);
});

test('a file that is just being written is tried again', async (t) => {
  const file = join(scriptFolder({plugin: 'echo ok'}), 'plugin');
  const writer = openSync(file, 'r+');
  setTimeout(() => closeSync(writer), 150);
  t.is(await execPlugin({file, env: {}, stdin: '', stderr: () => {}, busyDelayMs: 50}), 'ok\n');
});

test('a file that is written for ever is an error after six attempts', async (t) => {
  const file = join(scriptFolder({plugin: 'echo ok'}), 'plugin');
  const writer = openSync(file, 'r+');
  const error = await t.throwsAsync(execPlugin({file, env: {}, stdin: '', stderr: () => {}, busyDelayMs: 1}));
  closeSync(writer);
  t.regex(error?.message ?? '', /cannot execute .*: ETXTBSY$/);
});

test('the first regular file of CNI_PATH is the plugin', (t) => {
  const [first, second] = [scriptFolder({}), scriptFolder({plugin: ''})];
  mkdirSync(join(first, 'plugin'));
  t.is(findInPath('plugin', ['/no/such', first, `${second}/`]), join(second, 'plugin'));
});

test('what cannot be found is said as the reference says it', (t) => {
  t.throws(() => findInPath('', ['/a']), {message: 'no plugin name provided'});
  t.throws(() => findInPath('a/b', ['/a']), {message: 'invalid plugin name: a/b'});
  t.throws(() => findInPath('a', []), {message: 'no paths provided'});
  t.throws(() => findInPath('x', ['/a', '/b', '/c']), {
    message: 'failed to find plugin "x" in path [/a /b /c]',
  });
});

test('an empty element of CNI_PATH is not the working folder', (t) => {
  t.deepEqual(splitPath('/a::/b:'), ['/a', '/b']);
});
