import {eventuallyPings} from './harness/attachment.ts';
import {testWith} from './harness/needs.ts';
import {addPod, startStatic} from './harness/overlay-cluster.ts';
import {viewKernel} from './harness/overlay-kernel.ts';
import {makeRig} from './harness/overlay-rig.ts';

const test = testWith('root');

test('directRouting: peers on the segment without a tunnel, those behind a router with one; a card that goes down and up takes nothing for good', async (t) => {
  const rig = await makeRig(t, {hosts: 2, far: true});
  const agents = await startStatic(rig, {more: {directRouting: true}});
  const {host} = rig.host('h1');
  const kernel = viewKernel(host);
  t.teardown(() => kernel.close());
  const isWhole = (lines: readonly string[]) =>
    lines.includes('route 10.244.2.0/24 via 192.168.50.12 direct') &&
    lines.includes('route fd00:244:0:2::/64 via fd00:50::12 direct') &&
    lines.some((line) => line.startsWith('route 10.244.3.0/24 via 10.244.3.0 flannel.1'));
  await kernel.untilTrue('both kinds of routes', isWhole, 10_000);
  const good = await kernel.lines();
  t.false(
    good.some((line) => line.endsWith(' 192.168.50.12')),
    'no end of a tunnel for a peer that needs none',
  );
  const pod = await addPod(rig.host('h1'), 'pod');
  const near = await addPod(rig.host('h2'), 'pod');
  const far = await addPod(rig.host('far'), 'pod');
  const reachesAll = async () => {
    for (const {ipv4, ipv6} of [near, far])
      // The other hosts have their routes when their own agents do.
      for (const address of [ipv4, ipv6]) await eventuallyPings(host, 'pod', address);
  };
  await reachesAll();

  // The kernel drops the routes through a card that goes down, and brings none back.
  await host.sh(`ip link set eth0 down
    ip link set eth0 up
    ip address replace fd00:50::11/64 dev eth0 nodad
    ip route replace default via 192.168.50.1
    ip -6 route replace default via fd00:50::1`);
  const tookMs = await kernel.until(good, 10_000);
  t.log(`routes back: ${tookMs.toFixed(0)} ms (aim 300 ms)`);
  t.true(tookMs <= 10_000);
  await reachesAll();

  // The peer moves behind a router: as seen from here, it needs the tunnel from now on, and back.
  await host.run(['ip', 'route', 'add', '192.168.50.12/32', 'via', '192.168.50.1']);
  await agents.get('h1')!.ask('POST', '/reconcile');
  const tunnelled = await kernel.lines();
  t.true(
    tunnelled.some((line) => line.startsWith('route 10.244.2.0/24 via 10.244.2.0 flannel.1')),
    tunnelled.join('\n'),
  );
  await host.run(['ip', 'route', 'del', '192.168.50.12/32']);
  await agents.get('h1')!.ask('POST', '/reconcile');
  t.deepEqual(await kernel.lines(), good);
  t.is(pod.host.name, 'h1');
});
