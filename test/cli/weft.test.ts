import test from 'ava';
import type {Context} from '../../cli/command.ts';
import {weft} from '../../cli/weft.ts';

async function call(...args: string[]): Promise<{code: number; out: string; err: string}> {
  const lines = {out: [] as string[], err: [] as string[]};
  const context: Context = {
    args,
    env: {},
    release: {version: '0.1.0', id: '0123456789abcdef'},
    program: '/nonexistent/weft',
    plugins: ['bridge', 'loopback'],
    assets: {list: () => [], read: () => '', readBytes: () => Buffer.alloc(0)},
    agent: () => ({check() {}, run: () => Promise.resolve(0)}),
    out: (line) => lines.out.push(line),
    err: (line) => lines.err.push(line),
  };
  const code = await weft(context);
  return {code, out: lines.out.join('\n'), err: lines.err.join('\n')};
}

test('version names the build and the plugins', async (t) => {
  for (const name of ['version', '--version']) {
    const {code, out} = await call(name);
    t.is(code, 0);
    t.regex(out, /^weft 0\.1\.0 \(build 0123456789abcdef, Node /);
    t.regex(out, /plugins: bridge, loopback/);
  }
});

test('help lists every command, and knows all about each', async (t) => {
  const {code, out} = await call('help');
  t.is(code, 0);
  t.deepEqual(await call(), {code, out, err: ''});
  const commands = [...out.matchAll(/^ {2}(\w+) /gm)].map(([, name]) => name!);
  t.true(commands.includes('install') && commands.includes('uninstall') && commands.includes('help'));
  for (const name of commands.filter((each) => each !== 'help')) {
    for (const args of [
      ['help', name],
      [name, '--help'],
      [name, '-h'],
    ]) {
      const help = await call(...args);
      t.is(help.code, 0);
      t.regex(help.out, new RegExp(`^usage: weft ${name}`));
    }
  }
});

for (const name of ['nonsense', 'toString', '__proto__', '']) {
  test(`${JSON.stringify(name)} is no command`, async (t) => {
    for (const args of [[name], ['help', name]]) {
      const {code, err} = await call(...args);
      t.is(code, 2);
      t.is(err, `weft: there is no command "${name}"; \`weft help\` lists them`);
    }
  });
}

test('a wrong option is exit code 2 and a pointer to the help', async (t) => {
  const {code, err} = await call('install', '--nonsense');
  t.is(code, 2);
  t.regex(err, /^weft install: Unknown option '--nonsense'[^]*`weft help install` shows how it is called$/);
});
