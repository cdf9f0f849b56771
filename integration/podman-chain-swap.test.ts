import type {ExecutionContext} from 'ava';
import {ensurePackages} from './harness/debian.ts';
import {makeHost, type TestHost} from './harness/host.ts';
import {testWith} from './harness/needs.ts';
import {addOutside} from './harness/outside.ts';
import {pluginDir} from './harness/paths.ts';
import {referenceDir} from './harness/plugin.ts';
import {setUpPodman, type Podman} from './harness/podman.ts';
import {
  chainStays,
  podmansOwn,
  publishBoth,
  readDefaultConflist,
  runServices,
  untilReady,
} from './harness/podman-chain.ts';
import {ask} from './harness/ports.ts';
import {assertNothingLeft, findLeft, takeSnapshot, type Snapshot} from './harness/snapshot.ts';

const test = testWith('root', 'apt');

test.before(async () => {
  await ensurePackages('podman');
  await ensurePackages('reference');
});

interface Setting {
  readonly host: TestHost;
  readonly podman: Podman;
  readonly before: Snapshot;
  /** Lets podman find these plugins from now on. */
  readonly use: (plugins: 'ours' | 'theirs') => Promise<void>;
  /** Fails the test unless both published ports answer from outside. */
  readonly answers: (name: string) => Promise<void>;
}

const allowed = [
  ...chainStays,
  ...podmansOwn,
  // Of the reference, which keeps the chains that all its containers share, and of iptables when it is asked anything.
  /^nft rule \{"family":"ip6?","table":"(nat|filter)",(?!.*CNI-(DN|SN)-)(?!.*10\.88\.0\.[2-9])/,
];

async function prepare(t: ExecutionContext): Promise<Setting> {
  t.timeout(300_000);
  const host = await makeHost(t);
  const outside = await addOutside(host);
  const directory = '/run/cni-plugins';
  await host.run(['ln', '-s', pluginDir, directory]);
  const podman = await setUpPodman(host, [directory]);
  await host.write('/etc/cni/net.d/87-podman-bridge.conflist', await readDefaultConflist());
  return {
    host,
    podman,
    before: await takeSnapshot(host),
    use: async (plugins) => {
      await host.run(['ln', '-sfn', plugins === 'ours' ? pluginDir : referenceDir(), directory]);
    },
    answers: async (name) => {
      const [address] = outside.hostAddresses;
      const answer = `${name} sees ${outside.addresses[0]}`;
      const questions = [
        {address, port: 8080},
        {address, port: 5353, protocol: 'udp'},
      ] as const;
      t.deepEqual(await ask(host, 'outside', ...questions), [answer, answer]);
    },
  };
}

const remove = ['rm', '--force', '--time', '0'];

/** Nothing of a container is left, neither of ours nor of the reference's chains per container. */
async function assertGone(t: ExecutionContext, {host, before}: Setting): Promise<void> {
  await assertNothingLeft(t, host, before, allowed);
  const {stdout} = await host.run(['nft', 'list', 'chains']);
  t.deepEqual(stdout.match(/CNI-(DN-|SN-)?[0-9a-f]{10,}/g) ?? [], []);
}

/** GC is of spec 1.1.0: the same network, in a version that has it. */
async function collect(host: TestHost): Promise<void> {
  const {plugins} = JSON.parse(await readDefaultConflist()) as {plugins: unknown[]};
  await host.write('/run/gc/podman.conflist', JSON.stringify({cniVersion: '1.1.0', name: 'podman', plugins}));
  const env = {CNI_PATH: pluginDir, NETCONFPATH: '/run/gc'};
  await host.run([`${pluginDir}/cnitool`, 'gc', 'podman', ''], {env});
  await host.sh('rm -r /run/gc');
}

test('of what podman made with the reference plugins, our plugins leave nothing', async (t) => {
  const setting = await prepare(t);
  const {podman, use, answers} = setting;
  await use('theirs');
  await runServices(podman, 'web', ...publishBoth);
  await answers('web');
  await use('ours');
  await answers('web');
  await podman.run([...remove, 'web']);
  await assertGone(t, setting);
  await runServices(podman, 'next', ...publishBoth);
  await answers('next');
});

for (const [title, argv] of [
  ['reloaded', ['network', 'reload', 'web']],
  ['restarted', ['restart', '--time', '0', 'web']],
] as const)
  test(`a container of the reference plugins that is ${title} with ours, and with the reference's again, keeps its ports`, async (t) => {
    const setting = await prepare(t);
    const {host, podman, use, answers} = setting;
    await use('theirs');
    await runServices(podman, 'web', ...publishBoth);
    for (const plugins of ['ours', 'theirs', 'ours'] as const) {
      await use(plugins);
      // The reference's DEL reports chains of its own that are not there, after it did its work.
      await podman.run(argv, {mayFail: plugins === 'theirs'});
      await untilReady(podman, 'web');
      await answers('web');
    }
    await podman.run([...remove, 'web']);
    // A restart gives the container another address; of the one before, the reference left our elements.
    await collect(host);
    await assertGone(t, setting);
  });

test('of what podman made with ours, the reference removes interface and address, and our GC the rest', async (t) => {
  const setting = await prepare(t);
  const {host, podman, before, use, answers} = setting;
  await use('ours');
  await runServices(podman, 'web', ...publishBoth);
  await answers('web');
  await use('theirs');
  await podman.run([...remove, 'web'], {mayFail: true});
  const left = await findLeft(host, before, allowed);
  t.true(left.length > 0);
  t.deepEqual(
    left.filter(
      (line) => !/^(nft (set|map) inet weft(-firewall)? \S+ element |file \S+\/results\/)/.test(line),
    ),
    [],
    'nothing but elements of our sets, and what podman keeps as DEL reported an error',
  );
  await collect(host);
  await assertGone(t, setting);
});
