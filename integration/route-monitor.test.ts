import {setTimeout} from 'node:timers/promises';
import {parseIp} from '../lib/ip/address.ts';
import {parseCidr} from '../lib/ip/cidr.ts';
import {pipeline} from '../lib/netlink/pipeline.ts';
import {addAddress} from '../lib/netlink/route/address.ts';
import {addLink, getLink, removeLink, setLink} from '../lib/netlink/route/link.ts';
import {ensureNeighbour, neighbourRequests} from '../lib/netlink/route/neighbour.ts';
import {addRoute} from '../lib/netlink/route/route.ts';
import {RouteMonitor, type RouteEvent} from '../lib/netlink/route/route-monitor.ts';
import {makeNamespace} from './harness/namespace.ts';
import {testWith} from './harness/needs.ts';

const test = testWith('root');

async function until(condition: () => boolean): Promise<boolean> {
  const deadline = performance.now() + 20_000;
  while (!condition() && performance.now() < deadline) await setTimeout(20);
  return condition();
}

test('every kind of change is heard of, with whose it was', async (t) => {
  const {rt, netns, run} = await makeNamespace(t);
  const events: RouteEvent[] = [];
  const monitor = new RouteMonitor({
    onEvent: (event) => events.push(event),
    onResync: () => t.fail(),
    inNamespace: (open) => netns.run(open),
  });
  t.teardown(() => monitor.close());
  await addLink(rt, {name: 'br0', info: {kind: 'bridge'}, up: true});
  const {ifindex} = await getLink(rt, {name: 'br0'});
  await addAddress(rt, {...parseCidr('10.1.0.1/24')!, ifindex});
  await addRoute(rt, {dst: parseCidr('10.2.0.0/24')!, gateway: parseIp('10.1.0.2')!, ifindex, protocol: 119});
  await ensureNeighbour(rt, {ifindex, ip: parseIp('10.1.0.2')!, lladdr: '02:00:00:00:00:01'});
  await run('ip', 'neigh', 'flush', 'all', 'nud', 'permanent');
  await run('bridge', 'fdb', 'add', '02:00:00:00:00:02', 'dev', 'br0', 'self', 'local');
  await removeLink(rt, {ifindex});
  const gone = (kind: RouteEvent['kind']) => events.some((event) => event.kind === kind && event.gone);
  t.true(await until(() => gone('link')));

  const mine = events.filter(({port}) => port === rt.port);
  const route = mine.find((event) => event.kind === 'route' && event.protocol === 119);
  t.like(route, {gone: false, family: 4, table: 254});
  t.is(route?.kind === 'route' ? route.read()?.ifindex : undefined, ifindex);
  t.true(mine.some((event) => event.kind === 'neighbour' && !event.gone && event.ifindex === ifindex));
  t.true(events.some((event) => event.kind === 'address' && event.family === 4 && !event.gone));
  t.true(events.some((event) => event.kind === 'neighbour' && event.gone && event.port !== rt.port));
  t.true(events.some((event) => event.kind === 'neighbour' && event.bridge && event.ifindex === ifindex));
  const up = events.find((event) => event.kind === 'link' && !event.gone && event.read().up);
  t.is(up?.kind === 'link' ? up.read().name : undefined, 'br0');
  t.true(gone('address'));
});

test('who cannot keep up is told so, and hears on', async (t) => {
  const {rt, netns} = await makeNamespace(t);
  let resyncs = 0;
  let events = 0;
  const monitor = new RouteMonitor({
    onEvent: () => events++,
    onResync: (error) => {
      t.is(error.code, 'ENOBUFS');
      resyncs++;
    },
    inNamespace: (open) => netns.run(open),
    receiveBufferBytes: 8192,
  });
  t.teardown(() => monitor.close());
  await addLink(rt, {name: 'br0', info: {kind: 'bridge'}, up: true});
  const {ifindex} = await getLink(rt, {name: 'br0'});
  const many = Array.from({length: 500}, (_, i) =>
    neighbourRequests.set({
      ifindex,
      ip: parseIp(`10.1.${i >> 8}.${i & 255}`)!,
      lladdr: '02:00:00:00:00:01',
    }),
  );
  t.deepEqual(
    (await pipeline(rt, many)).filter((error) => error !== undefined),
    [],
  );
  t.true(await until(() => resyncs > 0));
  const before = events;
  await setLink(rt, {ifindex}, {mtu: 1400});
  t.true(await until(() => events > before));
});
