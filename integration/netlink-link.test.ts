import {setBridgePort} from '../lib/netlink/route/bridge-port.ts';
import {addLink, findLink, getLink, listLinks, removeLink, setLink} from '../lib/netlink/route/link.ts';
import {LinkMonitor, waitForLink} from '../lib/netlink/route/monitor.ts';
import {makeNamespace} from './harness/namespace.ts';
import {testWith} from './harness/needs.ts';

const test = testWith('root');
const veth = (name: string, peer: string) =>
  ({name, info: {kind: 'veth', data: {peer: {name: peer}}}}) as const;
const bridge = (name: string) => ({name, info: {kind: 'bridge'}}) as const;

test('a veth has its end in the other namespace from the start', async (t) => {
  const [host, container] = await Promise.all([makeNamespace(t), makeNamespace(t)]);
  const peer = {name: 'veth12', mac: '02:00:00:00:00:aa', mtu: 1300, netnsFd: host.netns.fd};
  await addLink(container.rt, {
    name: 'eth0',
    mac: '02:00:00:00:00:bb',
    mtu: 1400,
    info: {kind: 'veth', data: {peer}},
  });
  const inside = await getLink(container.rt, {name: 'eth0'});
  const outside = await getLink(host.rt, {name: 'veth12'});
  t.like(inside, {mac: '02:00:00:00:00:bb', mtu: 1400, up: false, link: outside.ifindex});
  t.like(outside, {mac: '02:00:00:00:00:aa', mtu: 1300, up: false, link: inside.ifindex});
  t.true(inside.linkNetnsId! >= 0);
  const [shown] = await host.show('ip', 'link', 'show', 'veth12');
  t.like(shown, {address: '02:00:00:00:00:aa', mtu: 1300, linkinfo: {info_kind: 'veth'}});
  t.true(await removeLink(container.rt, inside));
  t.is(await findLink(host.rt, {name: 'veth12'}), undefined);
});

test('a link that is there is not made again, one that is gone not removed again', async (t) => {
  const {rt} = await makeNamespace(t);
  await addLink(rt, bridge('br0'));
  await t.throwsAsync(addLink(rt, bridge('br0')), {
    code: 'EEXIST',
    message: 'add link br0: EEXIST (file exists)',
  });
  t.true(await removeLink(rt, {name: 'br0'}));
  t.false(await removeLink(rt, {name: 'br0'}));
  t.false(await removeLink(rt, {ifindex: 4711}));
  await t.throwsAsync(getLink(rt, {name: 'br0'}), {message: 'get br0: ENODEV (no such device)'});
  t.is(await findLink(rt, {name: 'br0'}), undefined);
});

test('settings of a link, one by one and together', async (t) => {
  const {rt, show} = await makeNamespace(t);
  await addLink(rt, veth('a', 'b'));
  await addLink(rt, {...bridge('br0'), mac: '02:00:00:00:00:01', mtu: 1450, up: true, promisc: true});
  const br0 = await getLink(rt, {name: 'br0'});
  t.like(br0, {mac: '02:00:00:00:00:01', mtu: 1450, up: true, promisc: true});
  await setLink(rt, {name: 'a'}, {master: br0.ifindex, up: true, mtu: 1400, alias: 'web 7', group: 9});
  const a = await getLink(rt, {name: 'a'});
  t.like(a, {master: br0.ifindex, up: true, mtu: 1400, alias: 'web 7', group: 9});
  await setLink(rt, a, {newName: 'c', master: 0, up: false});
  t.like(await getLink(rt, a), {name: 'c', master: undefined, up: false, alias: 'web 7'});
  t.like((await show('ip', 'link', 'show', 'c'))[0], {ifalias: 'web 7', mtu: 1400, group: '9'});
  await setLink(rt, br0, {promisc: false});
  t.like(await getLink(rt, br0), {promisc: false, up: true});
});

test('settings of a bridge port', async (t) => {
  const {rt, show} = await makeNamespace(t);
  await addLink(rt, bridge('br0'));
  await addLink(rt, veth('a', 'b'));
  const {ifindex: master} = await getLink(rt, {name: 'br0'});
  const a = await getLink(rt, {name: 'a'});
  await setLink(rt, a, {master});
  t.like((await getLink(rt, a)).port, {kind: 'bridge', bridgePort: {hairpin: false, isolated: false}});
  await setBridgePort(rt, a, {hairpin: true, isolated: true});
  t.like((await getLink(rt, a)).port, {
    kind: 'bridge',
    bridgePort: {hairpin: true, isolated: true, learning: true},
  });
  const [shown] = await show('bridge', 'link', 'show', 'dev', 'a');
  t.like(shown, {hairpin: true, isolated: true});
  await setLink(rt, a, {master: 0});
  await t.throwsAsync(setBridgePort(rt, a, {hairpin: true}), {
    message: /^set hairpin of bridge port \d+: E(INVAL|OPNOTSUPP) \(.+\)$/,
  });
});

test('the sentence of the kernel is in the error', async (t) => {
  const {rt} = await makeNamespace(t);
  await addLink(rt, bridge('br0'));
  await addLink(rt, bridge('br1'));
  const [br0, br1] = await Promise.all([getLink(rt, {name: 'br0'}), getLink(rt, {name: 'br1'})]);
  await t.throwsAsync(setLink(rt, br0, {master: br1.ifindex}), {
    message: 'set master of br0: ELOOP (Can not enslave a bridge to a bridge)',
  });
  const error = await t.throwsAsync(addLink(rt, {...bridge('x'.repeat(20)), mtu: 1400}), {code: 'ERANGE'});
  t.like(error, {
    errno: 34,
    extack: 'Attribute failed policy validation',
    request: `add link ${'x'.repeat(20)}`,
  });
});

test('a list of 400 links is complete, and the kernel does the choosing', async (t) => {
  const {rt, run} = await makeNamespace(t);
  const script = Array.from({length: 200}, (_, i) => `link add v${i} type veth peer name w${i}`).join('\n');
  await run('sh', '-c', `echo "link add br0 type bridge\n${script}\nlink set v7 master br0" | ip -batch -`);
  const names = (links: readonly {name: string}[]) => new Set(links.map(({name}) => name));
  const all = await listLinks(rt);
  t.is(names(all).size, all.length);
  t.true(all.length >= 402);
  t.is((await listLinks(rt, {kind: 'veth'})).length, 400);
  t.deepEqual([...names(await listLinks(rt, {kind: 'bridge'}))], ['br0']);
  const {ifindex: master} = await getLink(rt, {name: 'br0'});
  t.deepEqual([...names(await listLinks(rt, {master}))], ['v7']);
});

test('a link is waited for without asking again', async (t) => {
  const {netns, rt} = await makeNamespace(t);
  using monitor = netns.run(() => new LinkMonitor());
  await addLink(rt, {...veth('a', 'b'), up: true});
  const a = await getLink(rt, {name: 'a'});
  t.is(a.operstate, 'lower-layer-down');
  const isUp = {until: (link: {operstate: string}) => link.operstate === 'up', timeoutMs: 5000};
  const [waited] = await Promise.all([
    waitForLink({rt, monitor}, a, isUp),
    setLink(rt, {name: 'b'}, {up: true}),
  ]);
  t.true(waited.reached);
  t.is(waited.link?.operstate, 'up');
  // It is up already: no event comes.
  t.true((await waitForLink({rt, monitor}, a, isUp)).reached);
  const never = {until: () => false, timeoutMs: 50};
  t.like(await waitForLink({rt, monitor}, a, never), {reached: false, link: {name: 'a'}});
  const [gone] = await Promise.all([
    waitForLink({rt, monitor}, a, {...never, timeoutMs: 5000}),
    removeLink(rt, a),
  ]);
  t.deepEqual(gone, {reached: false, link: undefined});
});
