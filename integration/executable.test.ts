import {spawn} from 'node:child_process';
import {
  closeSync,
  constants,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  readSync,
  rmSync,
  symlinkSync,
  writeSync,
} from 'node:fs';
import {tmpdir} from 'node:os';
import path from 'node:path';
import {setTimeout as sleep} from 'node:timers/promises';
import ava, {type ExecutionContext} from 'ava';
import {runCommand} from './harness/command.ts';
import {testWith} from './harness/needs.ts';
import {pluginDir} from './harness/paths.ts';

// The executable as such: whatever is around it, a plugin answers, and answers the same.

const test = ava;
const asRoot = testWith('root');
const versions =
  '{"cniVersion":"1.1.0","supportedVersions":["0.1.0","0.2.0","0.3.0","0.3.1","0.4.0","1.0.0","1.1.0"]}\n';
const loopback = path.join(pluginDir, 'loopback');
const versionEnv = {CNI_COMMAND: 'VERSION'};

/** ADD of loopback in a fresh namespace of its own, which needs both native addons. */
const addEnv = {
  CNI_COMMAND: 'ADD',
  CNI_CONTAINERID: 'test',
  CNI_IFNAME: 'lo',
  CNI_NETNS: '/proc/self/ns/net',
  CNI_NETNS_OVERRIDE: '1',
  CNI_PATH: '/nonexistent',
};
const addConf = '{"cniVersion":"1.0.0","name":"lo","type":"loopback"}';

function makeFolder(t: ExecutionContext): string {
  const folder = mkdtempSync(path.join(tmpdir(), 'weft-executable-'));
  t.teardown(() => rmSync(folder, {recursive: true, force: true}));
  return folder;
}

test('is called by link, by a stub, by name from PATH, and whatever the file is called', async (t) => {
  const folder = makeFolder(t);
  const weft = path.join(pluginDir, 'weft');
  symlinkSync(weft, path.join(folder, 'bridge'));
  symlinkSync(weft, path.join(folder, 'renamed'));
  t.is((await runCommand([path.join(folder, 'bridge')], {env: versionEnv})).stdout, versions);
  t.is((await runCommand([weft, '--plugin', '/any/where/bridge'], {env: versionEnv})).stdout, versions);
  const byName = await runCommand(['sh', '-c', 'bridge'], {
    env: {...versionEnv, PATH: `${pluginDir}:/bin:/usr/bin`},
  });
  t.is(byName.stdout, versions);
  t.regex((await runCommand([path.join(folder, 'renamed'), 'version'], {env: {}})).stdout, /^weft \d/);
  t.regex((await runCommand([weft, '--plugin', '/any/where/weft', 'version'], {env: {}})).stdout, /^weft \d/);
});

test('a stub of a plugin that this version does not have answers with an error that says so', async (t) => {
  const {code, stdout, stderr} = await runCommand(
    [path.join(pluginDir, 'weft'), '--plugin', '/any/where/nonsense'],
    {
      env: versionEnv,
      mayFail: true,
    },
  );
  t.is(code, 1);
  t.is(stderr, '');
  const {msg, details} = JSON.parse(stdout) as {msg: string; details: string};
  t.regex(msg, /^weft \S+ has no plugin "nonsense"$/);
  t.regex(details, /bridge, /);
});

test('no NODE_* variable of the caller changes anything', async (t) => {
  const folder = makeFolder(t);
  const script = path.join(folder, 'evil.cjs');
  const hostile: Readonly<Record<string, string>> = {
    NODE_OPTIONS: `--require ${script} --inspect=127.0.0.1:0 --bogus-option`,
    NODE_CHANNEL_FD: 'nonsense',
    NODE_CHANNEL_SERIALIZATION_MODE: 'nonsense',
    NODE_V8_COVERAGE: path.join(folder, 'coverage'),
    NODE_COMPILE_CACHE: path.join(folder, 'compile-cache'),
    NODE_REPL_EXTERNAL_MODULE: script,
    NODE_ICU_DATA: '/nonexistent',
    NODE_EXTRA_CA_CERTS: '/nonexistent',
    NODE_DEBUG: '*',
    NODE_DEBUG_NATIVE: '*',
    NODE_PATH: folder,
    NODE_REDIRECT_WARNINGS: path.join(folder, 'warnings'),
    NODE_PENDING_DEPRECATION: '1',
    NODE_UNIQUE_ID: '1',
    NODE_TEST_CONTEXT: 'child-v8',
    NODE_USE_ENV_PROXY: '1',
  };
  const each = Object.entries(hostile).map(([name, value]) => ({[name]: value}));
  // Descriptors that are something else: stdin, stdout, and one that is not open.
  const channels = ['0', '1', '2', '3', '99', '-1'].map((fd) => ({NODE_CHANNEL_FD: fd}));
  for (const variables of [hostile, ...each, ...channels]) {
    const {stdout, stderr} = await runCommand([loopback], {env: {...versionEnv, ...variables}});
    t.is(stdout, versions, JSON.stringify(variables));
    t.is(stderr, '', JSON.stringify(variables));
  }
  t.deepEqual(readdirSync(folder), []);
});

test('children get no NODE_* variable', async (t) => {
  const folder = makeFolder(t);
  const net = path.join(folder, 'net.d');
  const {stdout} = await runCommand(
    [
      'sh',
      '-c',
      `mkdir -p ${net} && printf '{"cniVersion":"1.1.0","name":"n","plugins":[{"type":"spy"}]}' > ${net}/n.conflist
       printf '#!/bin/sh\\nenv >&2\\n' > ${folder}/spy && chmod 755 ${folder}/spy
       NODE_CHANNEL_FD=3 NODE_FOO=1 ${path.join(pluginDir, 'cnitool')} status n /proc/self/ns/net 2>&1`,
    ],
    {env: {PATH: '/bin:/usr/bin', CNI_PATH: folder, NETCONFPATH: net}, mayFail: true},
  );
  t.regex(stdout, /^CNI_COMMAND=STATUS$/m);
  t.notRegex(stdout, /NODE_/);
});

test('needs no newer glibc than 2.28', (t) => {
  for (const file of ['weft', 'libstdc++.so.6', 'libgcc_s.so.1', 'koffi.node', 'netlink.node']) {
    const text = readFileSync(path.join(pluginDir, file), 'latin1');
    const minors = [...text.matchAll(/GLIBC_2\.(\d+)/g)].map(([, minor]) => Number(minor));
    t.true(minors.length > 0, file);
    t.true(Math.max(...minors) <= 28, `${file} needs glibc 2.${Math.max(...minors)}`);
  }
});

asRoot('runs where there is nothing but glibc and /proc', async (t) => {
  const folder = makeFolder(t);
  const {stdout} = await runCommand(
    ['unshare', '--net', '--mount', '--pid', '--fork', 'sh', '-ec', chrootScript, folder],
    {
      env: {PATH: '/usr/sbin:/usr/bin:/sbin:/bin', PLUGINS: pluginDir, CONF: addConf},
      timeoutMs: 30_000,
    },
  );
  const [version, ...added] = stdout.split('\n');
  t.is(`${version}\n`, versions);
  t.regex(added.join('\n'), /"name": "lo"/);
});

const chrootScript = `
mount -t tmpfs tmpfs "$0"
mkdir "$0/proc" "$0/weft"
mount -t proc proc "$0/proc"
for file in $(ldd "$PLUGINS/weft" | grep -o '/[^ ]*' | grep -v -e libstdc -e libgcc_s); do
  mkdir -p "$0/$(dirname "$file")"
  cp "$file" "$0/$file"
done
cp -P "$PLUGINS"/weft "$PLUGINS"/lib* "$PLUGINS"/*.node "$PLUGINS"/loopback "$0/weft/"
CNI_COMMAND=VERSION chroot "$0" /weft/loopback
ls -A "$0/weft" > "$0/before"
printf %s "$CONF" | CNI_COMMAND=ADD CNI_CONTAINERID=test CNI_IFNAME=lo CNI_NETNS=/proc/self/ns/net CNI_NETNS_OVERRIDE=1 \\
  CNI_PATH=/weft chroot "$0" /weft/loopback
ls -A "$0/weft" | diff "$0/before" - >&2
`;

asRoot('needs no folder that is writable, and of its own folder all that the build put there', async (t) => {
  const script = (last: string) => `
mount --bind "$PLUGINS" /mnt && mount -o remount,bind,ro /mnt
for folder in /dev/shm /run /tmp /var/lib; do mount -t tmpfs -o ro,noexec tmpfs $folder; done
${last}
printf %s "$CONF" | exec /mnt/loopback`;
  const run = (last: string) =>
    runCommand(['unshare', '--net', '--mount', 'sh', '-ec', script(last)], {
      env: {...addEnv, PATH: '/usr/sbin:/usr/bin:/sbin:/bin', PLUGINS: pluginDir, CONF: addConf},
      mayFail: true,
    });
  const whole = await run(':');
  t.is(whole.code, 0, whole.stdout + whole.stderr);
  t.regex(whole.stdout, /"name": "lo"/);
  {
    const name = 'koffi.node';
    const {code, stdout} = await run(`mount --bind /dev/null /mnt/${name}`);
    t.is(code, 1);
    t.regex(
      (JSON.parse(stdout) as {msg: string}).msg,
      new RegExp(`weft cannot load its native part ${name}: .*same folder`),
    );
  }
});

asRoot('reads and writes 300 kB through pipes that are non-blocking and slow', async (t) => {
  const folder = makeFolder(t);
  const [input, output] = [path.join(folder, 'in'), path.join(folder, 'out')];
  await runCommand(['mkfifo', input, output]);
  const {O_RDONLY, O_WRONLY, O_NONBLOCK} = constants;
  const interfaces = Array.from({length: 3000}, (_, i) => ({
    name: `eth${i}`,
    mac: '02:00:00:00:00:01',
    sandbox: '/var/run/netns/some-namespace-of-a-container',
  }));
  const conf = JSON.stringify({
    cniVersion: '1.0.0',
    name: 'lo',
    type: 'loopback',
    prevResult: {cniVersion: '1.0.0', interfaces},
  });
  t.true(conf.length > 300_000);

  const stdin = openSync(input, O_RDONLY | O_NONBLOCK);
  const toChild = openSync(input, O_WRONLY | O_NONBLOCK);
  const fromChild = openSync(output, O_RDONLY | O_NONBLOCK);
  const stdout = openSync(output, O_WRONLY | O_NONBLOCK);
  const child = spawn('unshare', ['--net', loopback], {
    env: {...addEnv, PATH: '/usr/bin:/bin'},
    stdio: [stdin, stdout, 'pipe'],
  });
  const ended = new Promise<number | null>((resolve) => child.once('close', resolve));
  closeSync(stdin);
  closeSync(stdout);

  for (let done = 0; done < conf.length;)
    done += await retry(() => writeSync(toChild, conf.slice(done, done + 20_000)));
  closeSync(toChild);
  const chunks: Buffer[] = [];
  await sleep(300);
  for (;;) {
    const chunk = Buffer.alloc(30_000);
    const length = await retry(() => readSync(fromChild, chunk));
    if (length === 0) break;
    chunks.push(chunk.subarray(0, length));
    await sleep(2);
  }
  closeSync(fromChild);
  t.is(await ended, 0);
  const result = JSON.parse(Buffer.concat(chunks).toString()) as {interfaces: unknown[]};
  t.is(result.interfaces.length, 3000);
});

async function retry(operation: () => number): Promise<number> {
  for (;;) {
    try {
      return operation();
    } catch (error) {
      if (!(error instanceof Error && 'code' in error && error.code === 'EAGAIN')) throw error;
      await sleep(5);
    }
  }
}

test('a process that waits for its configuration has little memory to itself', async (t) => {
  const child = spawn(loopback, {env: {...addEnv, CNI_COMMAND: 'DEL'}, stdio: ['pipe', 'pipe', 'inherit']});
  const ended = new Promise((resolve) => child.once('close', resolve));
  let kilobytes = 0;
  for (const deadline = Date.now() + 5000; Date.now() < deadline; await sleep(50)) {
    const rollup = readFileSync(`/proc/${child.pid}/smaps_rollup`, 'utf8');
    const now = [...rollup.matchAll(/^Private_Dirty: +(\d+) kB$/gm)].reduce(
      (sum, [, kB]) => sum + Number(kB),
      0,
    );
    if (now === kilobytes && now > 8000) break;
    kilobytes = now;
  }
  child.stdin.end('{}');
  await ended;
  t.log(`private memory (beyond what processes share): ${(kilobytes / 1024).toFixed(1)} MiB`);
  t.true(kilobytes > 1000 && kilobytes < 24 * 1024, `${kilobytes} kB`);
});
