import {setTimeout} from 'node:timers/promises';
import {testWith} from './harness/needs.ts';
import {waitFor} from './harness/overlay-agent.ts';
import {agentConfig} from './harness/overlay-cluster.ts';
import {viewKernel} from './harness/overlay-kernel.ts';
import {makeRig} from './harness/overlay-rig.ts';

const test = testWith('root');

const first = {network: '10.244.0.0/16', vni: 1, prefix: '10.244'};

/** What a second network of the host must not have in common with the first, and what is said of it. */
const rivals = [
  {
    what: 'the same VNI',
    second: {network: '10.245.0.0/16', vni: 1, prefix: '10.245'},
    says: /VNI 1 on port 8472 is that of network red .*another VNI/,
  },
  {
    what: 'addresses in common',
    second: {network: '10.244.128.0/17', vni: 2, prefix: '10.244.128'},
    says: /10\.244\.128\.0\/17 overlaps 10\.244\.0\.0\/16 of network red .*range of its own/,
  },
] as const;

for (const {what, second, says} of rivals)
  test.serial(
    `two networks of a host with ${what}: the second says so, and the first works on`,
    async (t) => {
      const rig = await makeRig(t, {hosts: 1});
      const h1 = rig.host('h1');
      const {overlay, ...rest} = agentConfig('h1', {});
      const networks = [];
      for (const [name, {network, vni, prefix}] of [
        ['red', first],
        ['blue', second],
      ] as const) {
        const subnet = (index: number) => `${prefix.split('.').slice(0, 2).join('.')}.${128 + index}.0/24`;
        await h1.host.write(
          `/etc/weft/${name}.json`,
          JSON.stringify({
            network,
            vni,
            nodes: [
              {name: 'h1', publicIP: h1.ipv4, subnets: [subnet(name === 'red' ? 1 : 3)]},
              {name: 'h2', publicIP: '192.168.50.12', subnets: [subnet(name === 'red' ? 2 : 4)]},
            ],
          }),
        );
        networks.push({
          name,
          membership: {type: 'static', file: `/etc/weft/${name}.json`},
          underlay: {interface: 'eth0'},
          subnetFile: `/run/flannel/${name}.env`,
        });
      }
      const config = (some: readonly object[]) => ({...rest, overlay: {...overlay, networks: some}});
      const alone = await h1.startAgent(config(networks.slice(0, 1)));
      const kernel = viewKernel(h1.host);
      t.teardown(() => kernel.close());
      const good = await kernel.lines();
      await alone.kill('TERM');
      // Whoever is written down first has it in the end, whoever is quicker.
      const agent = await h1.startAgent(config(networks), {ready: false});
      await waitFor(
        'the second to stand back',
        async () => {
          // Its socket comes with it.
          const status = await agent.status().catch(() => undefined);
          return says.test(status?.networks[1]?.reasons.join() ?? '');
        },
        {timeoutMs: 20_000},
      );
      await kernel.until(good, 20_000);
      await waitFor('the first to be ready', async () => (await agent.status()).networks[0]!.ready);
      const done = () => agent.metric('weft_overlay_ops_total');
      const before = await done();
      const passes = await agent.metric('weft_overlay_passes_total');
      await agent.ask('POST', '/reconcile');
      await setTimeout(1000);
      t.is(await done(), before);
      t.deepEqual(await kernel.lines(), good);
      t.true((await agent.metric('weft_overlay_passes_total')) - passes < 5, 'nobody fights');
      const {networks: shown} = await agent.status();
      t.like(shown[0], {name: 'red', ready: true});
      t.like(shown[1], {name: 'blue', ready: false});
      // Without the first, the second works.
      await h1.host.write('/etc/weft/agent.json', JSON.stringify(config(networks.slice(1))));
      await agent.kill('HUP');
      await agent.untilReady(20_000);
      t.is((await agent.status()).networks[0]?.name, 'blue');
      t.is(await agent.metric('weft_overlay_ready', {network: 'blue'}), 1);
      const {body} = await agent.ask('GET', '/metrics');
      t.notRegex(body, /^weft_overlay_\w+\{.*"red"/m, 'who asks is told nothing of it any more');
    },
  );
