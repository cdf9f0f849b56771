import {existsSync} from 'node:fs';
import {readFile} from 'node:fs/promises';
import path from 'node:path';
import {setTimeout as sleep} from 'node:timers/promises';
import {startAgentOn, weftOnHost} from './harness/agent.ts';
import {ensurePackages} from './harness/debian.ts';
import {makeHost, type TestHost} from './harness/host.ts';
import {testWith} from './harness/needs.ts';
import {openNotifySocket} from './harness/notify-socket.ts';
import {repository} from './harness/paths.ts';

const test = testWith('root');
const noAgent = {agent: false};

async function until(what: string, holds: () => boolean | Promise<boolean>): Promise<void> {
  for (const deadline = Date.now() + 30_000; !(await holds()); await sleep(10))
    if (Date.now() > deadline) throw new Error(`not within 30 s: ${what}`);
}

/** Asks over TCP on the host, with the program for it that Node brings. */
async function ask(host: TestHost, url: string): Promise<string> {
  const script = `fetch(${JSON.stringify(url)}).then(async (r) => console.log(r.status, await r.text()), () => console.log('nobody'))`;
  return (await host.run([process.execPath, '-e', script])).stdout;
}

test('runs until SIGTERM, says what it is, and leaves nothing', async (t) => {
  const host = await makeHost(t, noAgent);
  const agent = await startAgentOn(host, {config: {cni: {}}});
  t.like(await agent.get('/livez'), {code: 200, text: 'ok\n'});
  t.like(await agent.get('/readyz'), {code: 200, text: 'ok\n'});
  const status = JSON.parse((await agent.get('/status')).text) as Record<string, unknown>;
  t.like(status, {ready: true, pid: agent.pid, modules: {cni: {socket: '/run/weft/cni.sock', running: 0}}});
  t.regex((await agent.get('/metrics')).text, /^weft_cni_calls_running 0$/m);
  const {stdout} = await host.run(['stat', '-c', '%a %U %n', '/run/weft/agent.sock', '/run/weft/cni.sock']);
  t.is(stdout, '600 root /run/weft/agent.sock\n600 root /run/weft/cni.sock\n');
  t.is(await agent.stop(), 0);
  for (const name of ['agent.sock', 'cni.sock']) t.false(existsSync(host.path(`/run/weft/${name}`)));
});

test('a socket that a killed agent left is no obstacle', async (t) => {
  const host = await makeHost(t, noAgent);
  const first = await startAgentOn(host);
  await first.stop('KILL');
  t.true(existsSync(host.path('/run/weft/cni.sock')));
  const second = await startAgentOn(host);
  t.not(second.pid, first.pid);
  t.is(await second.stop(), 0);
});

test('tells the service manager of every step', async (t) => {
  const host = await makeHost(t, noAgent);
  const manager = openNotifySocket(host.path('/run/notify'));
  t.teardown(() => manager.close());
  const env = {NOTIFY_SOCKET: '/run/notify', WATCHDOG_USEC: '200000'};
  const under = ['env', ...Object.entries(env).map(([name, value]) => `${name}=${value}`)];
  const agent = await startAgentOn(host, {under});
  await manager.until(/^READY=1$/);
  await manager.until(/^STATUS=serving/);
  await manager.until(/^WATCHDOG=1$/);
  const before = manager.lines.length;
  await host.run(['kill', '-HUP', String(agent.pid)]);
  await manager.until(/^RELOADING=1$/, before);
  await manager.until(/^MONOTONIC_USEC=\d+$/, before);
  await manager.until(/^READY=1$/, before);
  // Again and again, also after that.
  for (let i = 0; i < 2; i++) await manager.until(/^WATCHDOG=1$/, manager.lines.length);
  t.is(await agent.stop(), 0);
  await manager.until(/^STOPPING=1$/);
});

test('SIGHUP reads the configuration again; what cannot be used changes nothing', async (t) => {
  const host = await makeHost(t, noAgent);
  const agent = await startAgentOn(host, {config: {http: {listen: '127.0.0.1:9470'}}});
  t.is(await ask(host, 'http://127.0.0.1:9470/livez'), '200 ok\n\n');
  t.regex(await ask(host, 'http://127.0.0.1:9470/status'), /^404 /);
  const reload = async (config: string) => {
    await host.write('/etc/weft/agent.json', config);
    await host.run(['kill', '-HUP', String(agent.pid)]);
  };
  const modules = async () =>
    Object.keys((JSON.parse((await agent.get('/status')).text) as {modules: object}).modules);
  await reload('{"http": {"listen": "127.0.0.1:9471"}, "cni": {"enabled": false}}');
  await until('the new port', async () => (await ask(host, 'http://127.0.0.1:9471/livez')).startsWith('200'));
  t.is(await ask(host, 'http://127.0.0.1:9470/livez'), 'nobody\n');
  t.false((await modules()).includes('cni'));
  t.false(existsSync(host.path('/run/weft/cni.sock')));
  await reload('{"cni": {"enabled": "perhaps"}}');
  await sleep(200);
  t.is(await ask(host, 'http://127.0.0.1:9471/livez'), '200 ok\n\n');
  await reload('{}');
  await until('the socket', () => existsSync(host.path('/run/weft/cni.sock')));
  t.true((await modules()).includes('cni'));
  t.is(await agent.stop(), 0);
});

test('a newer agent takes over, its port as well, and the older one ends', async (t) => {
  const host = await makeHost(t, noAgent);
  const config = {http: {listen: '127.0.0.1:9470'}};
  const older = await startAgentOn(host, {config});
  const newer = host.start([weftOnHost, 'agent']);
  const ended = new Promise((resolve) => newer.once('exit', resolve));
  await until('the older one has ended', () => !existsSync(host.path(`/proc/${older.pid}`)));
  await until('the newer one serves', async () =>
    (await ask(host, 'http://127.0.0.1:9470/livez')).startsWith('200'),
  );
  const {stdout} = await host.sh('ls -A /run/weft');
  t.true(['agent.sock', 'cni.sock'].every((name) => stdout.split('\n').includes(name)));
  // Nothing that was bound and not renamed.
  t.notRegex(stdout, /^\./m);
  await host.sh('kill -TERM $(pidof weft)');
  t.is(await ended, 0);
});

test('what cannot be used is said, with exit code 1', async (t) => {
  const host = await makeHost(t, noAgent);
  const run = (...args: string[]) => host.run([weftOnHost, 'agent', ...args], {mayFail: true});
  t.like(await run('--check'), {code: 0, stdout: '/etc/weft/agent.json can be used\n'});
  await host.write('/etc/weft/agent.json', '{"cni": {"sockte": "/run/x"}}');
  const stderr = 'weft agent: /etc/weft/agent.json: unknown key "cni.sockte"; is "socket" meant?\n';
  t.like(await run('--check'), {code: 1, stderr});
  t.like(await run(), {code: 1, stderr});
  t.like(await run('--config', '/nonexistent'), {
    code: 1,
    stderr: "weft agent: cannot read /nonexistent: ENOENT: no such file or directory, open '/nonexistent'\n",
  });
  t.is((await run('nonsense')).code, 2);
  await host.write('/etc/weft/agent.json', '{"runDir": "/proc/weft"}');
  t.like(await run(), {code: 1, stdout: ''});
});

test('the unit passes systemd-analyze verify', async (t) => {
  const host = await makeHost(t, noAgent);
  const root = await ensurePackages('systemd', host.log);
  const lib = path.join(root, 'usr/lib', process.arch === 'arm64' ? 'aarch64-linux-gnu' : 'x86_64-linux-gnu');
  const unit = await readFile(path.join(repository, 'conf/systemd/weft-agent.service'), 'utf8');
  t.notRegex(unit, /^(?:Private|Protect|DynamicUser|User)/m);
  await host.write('/run/units/weft-agent.service', unit);
  // The path in it is that of an installation.
  await host.sh(
    `umount /opt/cni/bin 2>/dev/null || true; mkdir -p /opt/cni/bin; ln -s "$1" /opt/cni/bin/weft`,
    {
      args: [weftOnHost],
    },
  );
  const output = await host.run(
    [path.join(root, 'usr/bin/systemd-analyze'), 'verify', '/run/units/weft-agent.service'],
    {
      mayFail: true,
      env: {
        LD_LIBRARY_PATH: `${lib}:${lib}/systemd`,
        // The targets that it names are the package's own.
        SYSTEMD_UNIT_PATH: `/run/units:${path.join(root, 'usr/lib/systemd/system')}`,
      },
    },
  );
  const about = `${output.stdout}${output.stderr}`.split('\n').filter((line) => line.includes('weft-agent'));
  t.deepEqual(about, []);
  t.is(output.code, 0, output.stderr);
});
