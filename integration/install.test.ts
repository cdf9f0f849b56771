import {
  appendFileSync,
  copyFileSync,
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import path from 'node:path';
import test from 'ava';
import {runCommand} from './harness/command.ts';
import {answers, makePlace, pluginNames, pretendVersion, weft} from './harness/installation.ts';
import {testWith} from './harness/needs.ts';
import {pluginDir} from './harness/paths.ts';

// `weft install` and `weft uninstall` in folders of their own, from the executable that the build left.

const asRoot = testWith('root');
const toolPath = '/usr/sbin:/usr/bin:/sbin:/bin';

test('every name is a small file of its own that answers; uninstall leaves the folder empty', async (t) => {
  const place = makePlace(t);
  const {code, stdout, stderr} = await place.install();
  t.is(code, 0, stderr);
  t.regex(stdout, /installed weft \S+ in .*: (\S+, )*bridge, /);
  const names = pluginNames(place.binDir);
  t.true(names.includes('bridge') && names.includes('host-local') && names.includes('loopback'));
  for (const name of [...names, 'weft', 'cnitool']) {
    const stat = lstatSync(place.file(name));
    t.true(stat.isFile() && stat.size < 300 && stat.nlink === 1, name);
    t.is(stat.mode & 0o777, 0o755, name);
  }
  for (const name of names) await answers(t, place.file(name));
  t.regex((await runCommand([place.file('weft'), 'version'], {env: {}})).stdout, /^weft /);
  t.is((await place.install()).code, 0);

  t.is((await place.uninstall()).code, 0);
  t.deepEqual(readdirSync(place.binDir), []);
});

test('a stub that is overwritten harms no other', async (t) => {
  const place = makePlace(t);
  await place.install();
  const other = path.join(place.folder, 'other');
  writeFileSync(other, '#!/bin/sh\necho other\n', {mode: 0o755});
  await runCommand(['cp', '-f', other, place.file('bridge')], {env: {PATH: toolPath}});
  t.is((await runCommand([place.file('bridge')], {env: {PATH: toolPath}})).stdout, 'other\n');
  for (const name of pluginNames(place.binDir)) if (name !== 'bridge') await answers(t, place.file(name));

  const {stdout} = await place.uninstall();
  t.regex(stdout, /bridge: left, it is not weft's any more/);
  t.deepEqual(readdirSync(place.binDir), ['bridge']);
});

test('foreign files are refused; with --force they come back on uninstall, links as links', async (t) => {
  const place = makePlace(t);
  mkdirSync(place.binDir);
  writeFileSync(place.file('bridge'), 'theirs', {mode: 0o700});
  symlinkSync('/usr/lib/cni/loopback', place.file('loopback'));
  writeFileSync(place.file('unrelated'), 'unrelated');
  const refused = await place.install();
  t.is(refused.code, 1);
  t.regex(refused.stderr, /nothing was changed: \S+\/bridge, \S+\/loopback are not weft's; .*--force/);
  t.deepEqual(readdirSync(place.binDir).sort(), ['bridge', 'loopback', 'unrelated']);

  t.is((await place.install('--force')).code, 0);
  await answers(t, place.file('bridge'));
  await answers(t, place.file('loopback'));
  // An upgrade in between must not lose what was there first.
  t.is((await place.install()).code, 0);

  const {stdout} = await place.uninstall();
  t.regex(stdout, /bridge: put back what was there before/);
  t.is(readFileSync(place.file('bridge'), 'utf8'), 'theirs');
  t.is(statSync(place.file('bridge')).mode & 0o777, 0o700);
  t.is(readlinkSync(place.file('loopback')), '/usr/lib/cni/loopback');
  t.deepEqual(readdirSync(place.binDir).sort(), ['bridge', 'loopback', 'unrelated']);
});

test('during an upgrade every call is answered; the previous version goes when the new one has answered', async (t) => {
  const place = makePlace(t);
  await place.install();
  pretendVersion(place, '0.0.1');
  await answers(t, place.file('bridge'));
  t.regex(readFileSync(place.file('bridge'), 'utf8'), /\.weft\/0\.0\.1\/weft/);

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
  t.false(existsSync(place.file('.weft/0.0.1')));
  t.notRegex(readFileSync(place.file('bridge'), 'utf8'), /0\.0\.1/);
});

test('a new version that does not answer changes nothing', async (t) => {
  const place = makePlace(t);
  await place.install();
  pretendVersion(place, '0.0.1');
  const before = readFileSync(place.file('bridge'), 'utf8');

  // It runs, with the libraries of the build; what it installs has a library that does not load.
  const broken = path.join(place.folder, 'broken');
  mkdirSync(broken);
  for (const name of ['weft', 'libstdc++.so.6', 'koffi.node', 'netlink.node'])
    copyFileSync(path.join(pluginDir, name), path.join(broken, name));
  writeFileSync(path.join(broken, 'libgcc_s.so.1'), 'not a library');
  const {code, stderr} = await runCommand([path.join(broken, 'weft'), 'install', '--bin-dir', place.binDir], {
    env: {LD_LIBRARY_PATH: pluginDir},
    mayFail: true,
    timeoutMs: 60_000,
  });
  t.is(code, 1);
  t.regex(stderr, /weft install: .*\.new\/weft --plugin .* ended with exit code 127: .*libgcc_s/);
  t.is(readFileSync(place.file('bridge'), 'utf8'), before);
  t.deepEqual(readdirSync(place.file('.weft')).sort(), ['0.0.1', 'installed.json', 'lock']);
  await answers(t, place.file('bridge'));
});

test('two installations at once: one works, the other one too or says that it has to wait', async (t) => {
  const place = makePlace(t);
  const both = await Promise.all([place.install(), place.install()]);
  t.true(both.some(({code}) => code === 0));
  for (const {code, stderr} of both) if (code !== 0) t.regex(stderr, /another `weft install`/);
  await answers(t, place.file('bridge'));
});

test('--conf puts a ready configuration; uninstall takes it back unless it was changed', async (t) => {
  const place = makePlace(t);
  const unknown = await place.install('--conf', 'nonsense');
  t.is(unknown.code, 1);
  t.regex(unknown.stderr, /no configuration "nonsense": --conf takes .*kubernetes/);
  t.false(existsSync(place.binDir));

  const conf = path.join(place.confDir, '10-weft.conflist');
  t.is((await place.install('--conf', 'kubernetes')).code, 0);
  t.like(JSON.parse(readFileSync(conf, 'utf8')), {name: 'weft-kubernetes'});
  await place.uninstall();
  t.false(existsSync(conf));

  await place.install('--conf', 'kubernetes');
  appendFileSync(conf, '\n');
  const refused = await place.install('--conf', 'kubernetes');
  t.regex(refused.stderr, /10-weft\.conflist is not weft's/);
  const {stdout} = await place.uninstall();
  t.regex(stdout, /10-weft\.conflist: left, it was changed since/);
  t.true(existsSync(conf));

  await place.install('--conf', 'kubernetes', '--force');
  t.regex((await place.uninstall()).stdout, /10-weft\.conflist: put back what was there before/);
  t.true(readFileSync(conf, 'utf8').endsWith('\n\n'));
});

test('from a container, the stubs call the program as the host does', async (t) => {
  const place = makePlace(t);
  const {code, stdout} = await place.install('--host-bin-dir', '/opt/cni/bin/');
  t.is(code, 0);
  t.regex(stdout, /note: cannot see which C library the host has/);
  t.regex(readFileSync(place.file('bridge'), 'utf8'), /^#!\/opt\/cni\/bin\/\.weft\/[^/]+\/weft --plugin\n/);
});

test("from a container, it is the host's C library that counts", async (t) => {
  const {folder} = makePlace(t);
  const install = () =>
    runCommand([weft, 'install', '--bin-dir', `${folder}/opt/cni/bin`, '--host-bin-dir', '/opt/cni/bin'], {
      env: {},
      mayFail: true,
      timeoutMs: 60_000,
    });
  // Of the host's root only this and the plugin folder: nothing is known of the rest.
  mkdirSync(path.join(folder, 'etc/cni/net.d'), {recursive: true});
  const {code: partial, stdout: note} = await install();
  t.is(partial, 0);
  t.regex(note, /note: cannot see which C library the host has/);
  rmSync(path.join(folder, 'opt'), {recursive: true});

  mkdirSync(path.join(folder, 'usr'));
  t.regex((await install()).stderr, /failed: the host has no glibc .*\n.*nothing was changed/);
  t.false(existsSync(path.join(folder, 'opt')));

  const libraries = path.join(folder, 'usr/lib64');
  mkdirSync(libraries, {recursive: true});
  const put = (version: string) => {
    const banner = `\x7fELF\0GNU C Library (GNU libc) stable release version ${version}.\nCopyright`;
    writeFileSync(path.join(libraries, 'libc.so.6'), banner);
  };
  put('2.17');
  t.regex((await install()).stderr, /failed: the host has glibc 2\.17, weft needs 2\.28 or newer/);
  put('2.28');
  const {code, stdout} = await install();
  t.is(code, 0);
  t.notRegex(stdout, /C library/);
});

test('whatever the umask, other users can execute the plugins', async (t) => {
  const {binDir} = makePlace(t);
  const argv = ['sh', '-c', 'umask 077; exec "$@"', 'sh', weft, 'install', '--bin-dir', binDir];
  await runCommand(argv, {env: {PATH: toolPath}, timeoutMs: 60_000});
  for (const name of readdirSync(binDir, {recursive: true, encoding: 'utf8'})) {
    const stat = statSync(path.join(binDir, name));
    const needed = stat.isDirectory() || !/lock$|\.so\.|\.node$|json$/.test(name) ? 0o555 : 0o444;
    if (!name.endsWith('lock')) t.is(stat.mode & needed, needed, name);
  }
});

test('wrong calls say what is wrong', async (t) => {
  const place = makePlace(t);
  const call = async (...args: string[]) =>
    (await runCommand([weft, ...args], {env: {}, mayFail: true})).stderr;
  t.regex(await call('install', '--bin-dir', 'relative'), /--bin-dir: "relative" is not an absolute path/);
  t.regex(await call('install', '--nope'), /Unknown option '--nope'[^]*`weft help install`/);
  t.regex(await call('install', '--bin-dir', `${place.folder}/a b`), /cannot be called by a script/);
  t.regex(
    await call('install', '--bin-dir', `${place.folder}/${'x'.repeat(120)}`),
    /choose a shorter --bin-dir/,
  );
  t.regex(await call('uninstall', '--bin-dir', place.folder), /weft is not installed in/);
  t.regex(await call('nonsense'), /there is no command "nonsense"/);
  t.deepEqual(readdirSync(place.folder), []);
});

asRoot('a plugin folder that is mounted noexec is refused, and left as it was', async (t) => {
  const place = makePlace(t);
  const script = `mkdir "$0" && mount -t tmpfs -o noexec tmpfs "$0" && "$1" install --bin-dir "$0" || ls -A "$0"`;
  const {stdout, stderr} = await runCommand(['unshare', '--mount', 'sh', '-c', script, place.binDir, weft], {
    env: {PATH: toolPath},
    timeoutMs: 60_000,
  });
  t.regex(stderr, /is its file system mounted noexec\?/);
  t.is(stdout.trim(), '');
});

asRoot('a plugin folder without room is refused before anything is written', async (t) => {
  const place = makePlace(t);
  const script = `mkdir "$0" && mount -t tmpfs -o size=50m tmpfs "$0" && "$1" install --bin-dir "$0" || ls -A "$0"`;
  const {stdout, stderr} = await runCommand(['unshare', '--mount', 'sh', '-c', script, place.binDir, weft], {
    env: {PATH: toolPath},
  });
  t.regex(stderr, /failed: .* needs \d+ MB, but only 5\d MB are free: make room there/);
  t.is(stdout.trim(), '');
});
