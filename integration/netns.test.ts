import {spawn} from 'node:child_process';
import {readlinkSync} from 'node:fs';
import {createHost} from '../lib/host.ts';
import {addLink, findLink, listLinks} from '../lib/netlink/route/link.ts';
import {LinkMonitor, waitForLink} from '../lib/netlink/route/monitor.ts';
import {Netns} from '../lib/netns/netns.ts';
import {sysctl} from '../lib/netns/sysctl.ts';
import {makeNamespace} from './harness/namespace.ts';
import {testWith} from './harness/needs.ts';

const test = testWith('root');
const ownNetns = () => readlinkSync('/proc/thread-self/ns/net');

test('work is done inside, and the thread is back whatever happens', async (t) => {
  const {netns} = await makeNamespace(t);
  const home = ownNetns();
  const inside = netns.run(ownNetns);
  t.not(inside, home);
  t.is(inside, readlinkSync(netns.path));
  t.is(ownNetns(), home);
  t.throws(
    () =>
      netns.run(() => {
        throw new Error('in the middle');
      }),
    {message: 'in the middle'},
  );
  t.is(ownNetns(), home);
  t.throws(() => netns.run(() => Promise.resolve()), {message: /has to be synchronous/});
  t.is(ownNetns(), home);
  const other = await makeNamespace(t);
  netns.run(() => t.is(other.netns.run(ownNetns), readlinkSync(other.netns.path)));
  t.is(ownNetns(), home);
  t.false(netns.sameAs(other.netns));
});

test('a file of /proc that is no namespace cannot be entered', (t) => {
  using netns = Netns.open('/proc/self/status');
  t.throws(() => netns.run(ownNetns), {message: 'error switching to ns /proc/self/status: invalid argument'});
});

test('a sandbox has sockets and settings of its own', async (t) => {
  const {netns, run} = await makeNamespace(t);
  const host = createHost();
  t.teardown(() => host.close());
  using sandbox = host.sandbox(netns.path);
  t.false(host.isHostNetns(netns.path));
  t.true(host.isHostNetns('/proc/self/ns/net'));
  await addLink(sandbox.rt, {name: 'only.here', info: {kind: 'bridge'}});
  t.is(await findLink(host.rt, {name: 'only.here'}), undefined);
  t.truthy(await findLink(sandbox.rt, {name: 'only.here'}));

  const name = 'net/ipv4/conf/only.here/forwarding';
  t.is(sandbox.sysctl.read(name), '0');
  t.true(sandbox.sysctl.ensure(name, '1'));
  t.false(sandbox.sysctl.ensure(name, '1'));
  t.is((await run('cat', `/proc/sys/${name}`)).stdout.trim(), '1');
  t.throws(() => host.sysctl.read(name), {message: /no such file/});
  sandbox.sysctl.write(name, '0');
  t.is(
    netns.run(() => sysctl.read(name)),
    '0',
  );
  t.throws(() => sandbox.sysctl.write(name, 'x'), {message: `write /proc/sys/${name}: invalid argument`});
});

test('a socket that closed itself is opened again', async (t) => {
  const {netns} = await makeNamespace(t);
  const host = createHost();
  t.teardown(() => host.close());
  using sandbox = host.sandbox(netns.path);
  const before = sandbox.rt;
  before.close();
  t.is((await listLinks(sandbox.rt)).find(({name}) => name === 'lo')?.name, 'lo');
  t.not(sandbox.rt, before);
});

test('a socket and a namespace cost one descriptor each, and give it back', async (t) => {
  const {netns} = await makeNamespace(t);
  const script = `
    import {readdirSync} from 'node:fs';
    import {createHost} from './lib/host.ts';
    const count = () => readdirSync('/proc/self/fd').length;
    const host = createHost();
    const use = () => {
      using sandbox = host.sandbox(process.argv[1]);
      return sandbox.rt && count();
    };
    use();
    // Descriptors of closed sockets go with the next turn of the event loop.
    await new Promise((resolve) => setTimeout(resolve, 5));
    const before = count();
    const during = use();
    await new Promise((resolve) => setTimeout(resolve, 5));
    console.log(during - before, count() - before);
  `;
  const child = spawn(process.execPath, ['--input-type=module', '-e', script, netns.path], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const output = await new Promise((resolve) =>
    child.stdout.once('data', (chunk) => resolve(String(chunk).trim())),
  );
  // The process ends although its host is still open: nothing is asked.
  const code = await new Promise((resolve) => child.once('close', resolve));
  t.is(output, '2 0');
  t.is(code, 0);
});

test('a monitor that was overrun says so', async (t) => {
  const {netns, rt} = await makeNamespace(t);
  using monitor = netns.run(() => new LinkMonitor({receiveBufferBytes: 4096}));
  await addLink(rt, {name: 'br0', info: {kind: 'bridge'}});
  const br0 = (await findLink(rt, {name: 'br0'}))!;
  const waiting = waitForLink({rt, monitor}, br0, {until: () => false, timeoutMs: 10_000});
  const busy = Promise.all(
    Array.from({length: 200}, (_, i) => addLink(rt, {name: `b${i}`, info: {kind: 'bridge'}})),
  );
  await t.throwsAsync(waiting, {code: 'ENOBUFS'});
  await busy;
  t.true(monitor.closed);
});
