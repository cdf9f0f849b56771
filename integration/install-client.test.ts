import {
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import {tmpdir} from 'node:os';
import path from 'node:path';
import type {Context} from '../cli/command.ts';
import {install} from '../cli/install.ts';
import {runCommand} from './harness/command.ts';
import {answers, makePlace, pluginNames, pretendVersion, weft} from './harness/installation.ts';
import {testWith} from './harness/needs.ts';

// `weft install --client`, where no agent runs: the clients execute weft.

const test = testWith('cc');

const isElf = (file: string) => readFileSync(file, 'latin1').startsWith('\x7fELF');

function isClient(file: string, socket = '/run/weft/cni.sock'): boolean {
  const stat = lstatSync(file);
  const text = readFileSync(file, 'latin1');
  return (
    stat.isFile() &&
    stat.nlink === 1 &&
    stat.size < 100_000 &&
    (stat.mode & 0o777) === 0o755 &&
    isElf(file) &&
    text.includes(`${socket}\0`) &&
    /\n?# weft \S+ [0-9a-f]{16}\n$/.test(text)
  );
}

test('every plugin gets a client of its own that answers; uninstall leaves the folder empty', async (t) => {
  const place = makePlace(t);
  const {code, stdout, stderr} = await place.install('--client');
  t.is(code, 0, stderr);
  t.regex(
    stdout,
    /they are native clients of the agent at \/run\/weft\/cni\.sock, and run the plugins themselves/,
  );
  const names = pluginNames(place.binDir);
  t.true(names.includes('bridge') && names.includes('host-local'));
  for (const name of names) {
    t.true(isClient(place.file(name)), name);
    await answers(t, place.file(name));
  }
  for (const name of ['weft', 'cnitool']) t.regex(readFileSync(place.file(name), 'utf8'), /^#!\//);
  t.regex((await runCommand([place.file('weft'), 'version'], {env: {}})).stdout, /^weft /);

  t.is((await place.uninstall()).code, 0);
  t.deepEqual(readdirSync(place.binDir), []);
});

test('an installation keeps its kind until it is told otherwise; `weft status` says which it is', async (t) => {
  const place = makePlace(t);
  const status = async (...args: string[]) =>
    (
      await runCommand([weft, 'status', '--bin-dir', place.binDir, '--conf-dir', place.confDir, ...args], {
        env: {},
      })
    ).stdout;
  const installed = async () => (JSON.parse(await status('--json')) as {installed?: unknown}).installed;
  t.is(await installed(), undefined);
  await place.install();
  t.regex(await status(), /^weft \S+ in \S+: stubs$/m);
  t.like(await installed(), {binDir: place.binDir, files: 'stubs'});

  await place.install('--client-socket', '/run/other.sock');
  t.regex(await status(), /^weft \S+ in \S+: native clients of the agent at \/run\/other\.sock$/m);
  t.like(await installed(), {files: 'clients', socket: '/run/other.sock'});
  await place.install();
  t.true(isClient(place.file('bridge'), '/run/other.sock'));
  await place.install('--client');
  t.true(isClient(place.file('bridge'), '/run/other.sock'));

  await place.install('--no-client');
  t.false(isElf(place.file('bridge')));
  t.like(await installed(), {files: 'stubs'});
});

test('an upgrade from stubs or clients of another version takes over all names', async (t) => {
  const place = makePlace(t);
  await place.install('--client');
  pretendVersion(place, '0.0.1');
  await answers(t, place.file('bridge'));
  t.true(readFileSync(place.file('bridge')).includes('.weft/0.0.1/weft\0'));

  let upgrading = true;
  let calls = 0;
  const caller = (async () => {
    while (upgrading) {
      await answers(t, place.file(calls % 2 === 0 ? 'bridge' : 'host-local'));
      calls++;
    }
  })();
  const {code, stdout, stderr} = await place.install();
  upgrading = false;
  await caller;
  t.is(code, 0, stderr);
  t.regex(stdout, /\(it was 0\.0\.1\)/);
  t.true(calls > 3, `${calls} calls`);
  for (const name of pluginNames(place.binDir)) {
    t.true(isClient(place.file(name)), name);
    t.false(readFileSync(place.file(name)).includes('0.0.1'));
  }
  t.deepEqual((await place.uninstall()).code, 0);
  t.deepEqual(readdirSync(place.binDir), []);
});

test('a client that is overwritten harms no other; foreign files need --force, and come back', async (t) => {
  const place = makePlace(t);
  mkdirSync(place.binDir);
  writeFileSync(place.file('bridge'), 'theirs', {mode: 0o700});
  symlinkSync('/usr/lib/cni/loopback', place.file('loopback'));
  const refused = await place.install('--client');
  t.is(refused.code, 1);
  t.regex(refused.stderr, /nothing was changed: \S+\/bridge, \S+\/loopback are not weft's; .*--force/);
  t.deepEqual(readdirSync(place.binDir).sort(), ['bridge', 'loopback']);

  t.is((await place.install('--client', '--force')).code, 0);
  writeFileSync(path.join(place.folder, 'other'), '#!/bin/sh\necho other\n', {mode: 0o755});
  await runCommand(['cp', '-f', path.join(place.folder, 'other'), place.file('ptp')]);
  t.is((await runCommand([place.file('ptp')])).stdout, 'other\n');
  for (const name of ['bridge', 'loopback', 'host-local']) await answers(t, place.file(name));

  const {stdout} = await place.uninstall();
  t.regex(stdout, /ptp: left, it is not weft's any more/);
  t.regex(stdout, /bridge: put back what was there before/);
  t.is(readFileSync(place.file('bridge'), 'utf8'), 'theirs');
  t.is(readlinkSync(place.file('loopback')), '/usr/lib/cni/loopback');
});

test('from a container, the clients call the program as the host does', async (t) => {
  const place = makePlace(t);
  t.is((await place.install('--client', '--host-bin-dir', '/opt/cni/bin')).code, 0);
  const {version} = JSON.parse(readFileSync(place.file('.weft/installed.json'), 'utf8')) as {version: string};
  t.true(readFileSync(place.file('bridge')).includes(`\0/opt/cni/bin/.weft/${version}/weft\0`));
});

test('wrong calls say what is wrong', async (t) => {
  const place = makePlace(t);
  const refusal = async (...args: string[]) => (await place.install(...args)).stderr;
  t.regex(
    await refusal('--client-socket', 'relative'),
    /--client-socket: "relative" is not an absolute path/,
  );
  t.regex(await refusal('--no-client', '--client-socket', '/x'), /--no-client that there are none/);
  t.regex(
    await refusal('--client-socket', `/${'x'.repeat(107)}`),
    /too long for the native client: 108 bytes of 107/,
  );
  // A first installation that fails leaves nothing.
  t.deepEqual(readdirSync(place.binDir), []);
  t.is((await place.install('--client-socket', `/${'x'.repeat(106)}`)).code, 0);
});

test('a build without a compiler says that it has no client', async (t) => {
  const folder = mkdtempSync(path.join(tmpdir(), 'weft-'));
  t.teardown(() => rmSync(folder, {recursive: true, force: true}));
  const context: Context = {
    args: ['--client', '--bin-dir', folder],
    env: {},
    release: {version: '0.1.0', id: '0123456789abcdef'},
    program: weft,
    plugins: ['bridge'],
    assets: {list: () => [], read: () => '', readBytes: () => Buffer.alloc(0)},
    agent: () => ({check() {}, run: () => Promise.resolve(0)}),
    out() {},
    err() {},
  };
  await t.throwsAsync(install.run(context), {
    message: /^weft 0\.1\.0 was built without its native client \(there was no C compiler\): .*--no-client$/,
  });
  t.deepEqual(readdirSync(folder), []);
});
