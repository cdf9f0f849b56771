import type {ExecutionContext} from 'ava';
import {ensurePackages} from './harness/debian.ts';
import {makeHost, type TestHost} from './harness/host.ts';
import {testWith} from './harness/needs.ts';
import {addOutside, type Outside} from './harness/outside.ts';
import {pluginDir} from './harness/paths.ts';
import {setUpPodman, type Podman} from './harness/podman.ts';
import {
  askFromContainer,
  chainStays,
  makeDualStackConflist,
  podmansOwn,
  publishBoth,
  readDefaultConflist,
  runServices,
  untilReady,
} from './harness/podman-chain.ts';
import {ask, type Question} from './harness/ports.ts';
import {assertNothingLeft, takeSnapshot, type Snapshot} from './harness/snapshot.ts';

const test = testWith('root', 'apt');
const long = 300_000;
const allowed = [...chainStays, ...podmansOwn];

test.before(async () => {
  await ensurePackages('podman');
});

interface Setting {
  readonly host: TestHost;
  readonly podman: Podman;
  readonly outside: Outside;
  readonly before: Snapshot;
}

/** A host beside an outside, with podman and our plugins alone; FORWARD drops, as where Docker was once. */
async function prepare(t: ExecutionContext, conflist: string): Promise<Setting> {
  t.timeout(long);
  const host = await makeHost(t);
  const outside = await addOutside(host);
  await host.sh('iptables -P FORWARD DROP; ip6tables -P FORWARD DROP');
  const podman = await setUpPodman(host, [pluginDir]);
  await host.write('/etc/cni/net.d/87-podman-bridge.conflist', conflist);
  return {host, podman, outside, before: await takeSnapshot(host)};
}

const both = (address: string): Question[] => [
  {address, port: 8080},
  {address, port: 5353, protocol: 'udp'},
];

/** The four ways to published ports, and whom the container sees on each of them. */
async function answersEverywhere(
  t: ExecutionContext,
  {host, podman, outside}: Setting,
  name: string,
  family: 4 | 6,
): Promise<void> {
  const index = family === 4 ? 0 : 1;
  const own = outside.hostAddresses[index];
  const gateway = family === 4 ? /^web sees 10\.8[78]\.0\.1$/ : /^web sees fd00:87::1$/;
  const twice = (seen: string) => [seen, seen].map((each) => `${name} sees ${each}`);
  t.deepEqual(await ask(host, undefined, ...both(own)), twice(own), 'from the host');
  t.deepEqual(await ask(host, 'outside', ...both(own)), twice(outside.addresses[index]), 'from outside');
  for (const answer of await askFromContainer(podman, name, ...both(own)))
    t.regex(answer, gateway, 'from the container itself');
  if (family === 6) return;
  for (const answer of await ask(host, undefined, ...both('127.0.0.1')))
    t.regex(answer, gateway, 'from 127.0.0.1');
}

async function refusesEverywhere(t: ExecutionContext, {host, outside}: Setting): Promise<void> {
  const refused = ['ECONNREFUSED', 'ECONNREFUSED'];
  for (const address of outside.hostAddresses)
    t.deepEqual(await ask(host, 'outside', ...both(address)), refused, address);
  t.deepEqual(await ask(host, undefined, ...both('127.0.0.1')), refused);
}

test("podman's unchanged default network: published ports are reached from everywhere, also after a reload", async (t) => {
  const setting = await prepare(t, await readDefaultConflist());
  const {host, podman, before} = setting;
  await runServices(podman, 'web', ...publishBoth);
  await answersEverywhere(t, setting, 'web', 4);
  await podman.run(['network', 'reload', 'web']);
  await answersEverywhere(t, setting, 'web', 4);
  // As an administrator or a firewall's restart would do it: what podman offers against it is the reload.
  await host.sh('nft flush ruleset');
  await podman.run(['network', 'reload', '--all']);
  await answersEverywhere(t, setting, 'web', 4);
  await podman.run(['rm', '--force', '--time', '0', 'web']);
  await refusesEverywhere(t, setting);
  await assertNothingLeft(t, host, before, allowed);
});

test("a dual-stack copy of podman's default network: published ports are reached over IPv4 and IPv6", async (t) => {
  const setting = await prepare(t, await makeDualStackConflist());
  const {host, podman, before} = setting;
  await runServices(podman, 'web', '--network', 'dual', ...publishBoth);
  const families = async () => {
    await answersEverywhere(t, setting, 'web', 4);
    await answersEverywhere(t, setting, 'web', 6);
  };
  await families();
  await podman.run(['network', 'reload', 'web']);
  await families();
  await podman.run(['rm', '--force', '--time', '0', 'web']);
  await refusesEverywhere(t, setting);
  await assertNothingLeft(t, host, before, allowed);
});

test('a UDP client that keeps its port goes on with a container that is stopped and started, and restarted', async (t) => {
  const setting = await prepare(t, await makeDualStackConflist());
  const {host, podman, outside, before} = setting;
  await runServices(podman, 'web', '--network', 'dual', ...publishBoth);
  const clients = outside.hostAddresses.map((address, index): Question => ({
    protocol: 'udp',
    address,
    source: outside.addresses[index]!,
    port: 5353,
    sourcePort: 4000,
  }));
  const asked = () => ask(host, 'outside', ...clients);
  const answers = outside.addresses.map((address) => `web sees ${address}`);
  t.deepEqual(await asked(), answers);
  await podman.run(['stop', '--time', '0', 'web']);
  t.deepEqual(await asked(), ['ECONNREFUSED', 'ECONNREFUSED']);
  await podman.run(['start', 'web']);
  await untilReady(podman, 'web');
  t.deepEqual(await asked(), answers, 'started');
  // A client that never stops asking leaves an entry at any moment of the restart.
  let over = false;
  const restart = podman.run(['restart', '--time', '0', 'web']).finally(() => (over = true));
  do await asked();
  while (!over);
  await restart;
  await untilReady(podman, 'web');
  t.deepEqual(await asked(), answers, 'restarted');
  await podman.run(['rm', '--force', '--time', '0', 'web']);
  await assertNothingLeft(t, host, before, allowed);
});

test('the second container that asks for a host port is told who has it, and nothing of it stays', async (t) => {
  const setting = await prepare(t, await readDefaultConflist());
  const {host, podman, outside} = setting;
  await runServices(podman, 'web', ...publishBoth);
  const before = await takeSnapshot(host);
  const id = (await podman.run(['inspect', 'web', '--format', '{{.Id}}'])).stdout.trim();
  for (const [port, what] of [
    ['8080:81', '8080/tcp'],
    ['5353:54/udp', '5353/udp'],
  ] as const) {
    // A port of its own before the one that is taken: it must not stay either.
    const second = ['run', '-d', '--name', 'second', ...podman.limits, '-p', '7070:80', '-p', port];
    const {code, stderr} = await podman.run([...second, 'busybox', '/bin/sleep', '1000'], {mayFail: true});
    t.not(code, 0);
    t.true(stderr.includes(`host port ${what} is already mapped to container "${id.slice(0, 40)}`), stderr);
    t.true(stderr.includes('choose another host port'), stderr);
    await podman.run(['rm', '--force', '--time', '0', 'second']);
    await assertNothingLeft(t, host, before, allowed);
    t.deepEqual(await ask(host, 'outside', {address: outside.hostAddresses[0], port: 7070}), [
      'ECONNREFUSED',
    ]);
  }
  await answersEverywhere(t, setting, 'web', 4);
  await podman.run(['rm', '--force', '--time', '0', 'web']);
  await runServices(podman, 'next', ...publishBoth);
  t.deepEqual(await ask(host, 'outside', ...both(outside.hostAddresses[0])), [
    `next sees ${outside.addresses[0]}`,
    `next sees ${outside.addresses[0]}`,
  ]);
});
