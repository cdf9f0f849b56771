import type {ExecutionContext} from 'ava';
import {testWith} from './harness/needs.ts';
import {waitFor, type RunningAgent} from './harness/overlay-agent.ts';
import {
  agentConfig,
  putNetwork,
  staticFile,
  startStore,
  storeMembership,
  storePrefix,
} from './harness/overlay-cluster.ts';
import {viewKernel, type KernelView} from './harness/overlay-kernel.ts';
import {makeRig, type RigHost} from './harness/overlay-rig.ts';

/* Many hosts: those of one membership that are only written down, and twenty agents that start at once. */

const test = testWith('root');

interface Node {
  readonly name: string;
  readonly publicIP: string;
  readonly subnets: readonly string[];
}

/** The host itself and `count` that do not exist. */
function nodes(count: number, rename: (index: number) => string = (index) => `n${index}`): Node[] {
  return Array.from({length: count + 1}, (_, index) => ({
    name: index === 0 ? 'h1' : rename(index),
    publicIP:
      index === 0 ? '192.168.50.11' : `172.${16 + (index >> 16)}.${(index >> 8) & 255}.${index & 255}`,
    subnets: [`10.${index >> 8}.${index & 255}.0/24`],
  }));
}

async function write({host}: RigHost, all: readonly Node[]): Promise<void> {
  await host.write(`${staticFile}.new`, JSON.stringify({network: '10.0.0.0/8', vni: 1, nodes: all}));
  await host.run(['mv', `${staticFile}.new`, staticFile], {log: () => {}});
}

/** Waits until the agent has applied one change more, and returns how long the change took from its arrival. */
async function converged(agent: RunningAgent, before: number): Promise<number> {
  let sum = 0;
  await waitFor(
    'the change to be applied',
    async () => {
      const metric = await agent.metrics();
      sum = metric('weft_overlay_convergence_seconds_sum');
      return metric('weft_overlay_convergence_seconds_count') > before;
    },
    {intervalMs: 50},
  );
  return sum * 1000;
}

async function rssMib({host}: RigHost, agent: RunningAgent): Promise<number> {
  const {stdout} = await host.run(['cat', `/proc/${agent.pid}/status`], {log: () => {}});
  return Number(/VmRSS:\s+(\d+) kB/.exec(stdout)?.[1]) / 1024;
}

const count = (lines: readonly string[]) =>
  (['neigh', 'fdb', 'route'] as const).map(
    (kind) => lines.filter((line) => line.startsWith(`${kind} `)).length,
  );

/** Prints what was measured beside the aim; the deadline is ten times that, and never less than a busy machine needs. */
function tell(t: ExecutionContext, what: string, took: number, aim: number, unit = 'ms'): void {
  t.log(`${what}: ${took.toFixed(0)} ${unit} (aim ${aim} ${unit})`);
  t.true(took <= Math.max(10 * aim, 15_000), `${what}: ${took}`);
}

for (const peers of [1000, 5000])
  test.serial(
    `${peers} peers: a cold start, one change, half of them replaced, and a restart that does nothing`,
    async (t) => {
      const rig = await makeRig(t, {hosts: 1, log: () => {}});
      const [h1] = rig.hosts as [RigHost];
      const config = {...agentConfig('h1', {type: 'static', file: staticFile}), logLevel: 'info'};
      await write(h1, nodes(peers));
      const agent = await h1.startAgent(config, {timeoutMs: 100_000});
      const kernel: KernelView = viewKernel(h1.host);
      t.teardown(() => kernel.close());
      const observed = async () => (await agent.metrics())('weft_overlay_convergence_seconds_count');
      const summed = async () => (await agent.metrics())('weft_overlay_convergence_seconds_sum') * 1000;
      t.deepEqual(count(await kernel.lines()), [peers, peers, peers]);
      tell(t, `cold start, ${3 * peers} objects`, await converged(agent, 0), 1000);

      const change = async (all: readonly Node[]) => {
        const [before, sum] = [await observed(), await summed()];
        await write(h1, all);
        return (await converged(agent, before)) - sum;
      };
      const one = nodes(peers).map((node, index) => (index === 7 ? {...node, publicIP: '172.31.0.1'} : node));
      tell(t, 'one change', await change(one), 20);
      t.true((await kernel.lines()).some((line) => line.endsWith(' 172.31.0.1')));

      const half = nodes(peers, (index) => (index % 2 === 0 ? `r${index}` : `n${index}`));
      tell(t, 'half of them replaced', await change(half), 1000);
      t.deepEqual(count(await kernel.lines()), [peers, peers, peers]);

      const lag = (await agent.metrics())('weft_nodejs_eventloop_lag_max_seconds') * 1000;
      t.log(
        `memory: ${(await rssMib(h1, agent)).toFixed(0)} MiB; the event loop stood still for at most ${lag.toFixed(0)} ms`,
      );
      t.true((await rssMib(h1, agent)) < 600);

      await agent.kill('KILL');
      const changes = await kernel.countChanges();
      const next = await h1.startAgent(config, {timeoutMs: 100_000});
      await next.ask('POST', '/reconcile');
      t.is(await next.metric('weft_overlay_ops_total'), 0);
      t.deepEqual(changes(), []);
      t.deepEqual(count(await kernel.lines()), [peers, peers, peers]);
      t.log(`after the restart: ${(await rssMib(h1, next)).toFixed(0)} MiB`);
    },
  );

test.serial('twenty agents start at once on an empty store: twenty subnets, and all know all', async (t) => {
  const rig = await makeRig(t, {hosts: 20, log: () => {}});
  const etcd = await startStore(rig);
  t.teardown(() => etcd.close());
  await putNetwork(etcd, {EnableIPv6: false});
  const started = performance.now();
  const agents = await Promise.all(
    rig.hosts.map((host) =>
      host.startAgent(agentConfig(host.name, storeMembership(etcd, {leaseTtlS: 120})), {timeoutMs: 100_000}),
    ),
  );
  t.log(`all ready after ${(performance.now() - started).toFixed(0)} ms`);
  const {stdout} = await etcd.ctl(['get', '--prefix', `${storePrefix}/subnets/`, '--keys-only']);
  t.is(new Set(stdout.split('\n').filter((line) => line !== '')).size, 20);
  for (const agent of agents)
    await waitFor(
      'all peers',
      async () => (await agent.metric('weft_overlay_peers', {state: 'programmed'})) === 19,
      {timeoutMs: 60_000, intervalMs: 100},
    );
  t.log(`all know all after ${(performance.now() - started).toFixed(0)} ms`);
  const kernel = viewKernel(rig.hosts[7]!.host);
  t.deepEqual(count(await kernel.lines()), [19, 19, 19]);
  kernel.close();
});
