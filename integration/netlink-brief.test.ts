import {addAddress, listAddresses} from '../lib/netlink/route/address.ts';
import {addLink, getLink, listLinks, removeLink, setLink} from '../lib/netlink/route/link.ts';
import {openRouteSocket, rtm} from '../lib/netlink/route/socket.ts';
import {ipFromValue} from '../lib/ip/address.ts';
import {makeNamespace} from './harness/namespace.ts';
import {testWith} from './harness/needs.ts';

const test = testWith('root');

test('a brief socket asks, changes and lists as any other', async (t) => {
  const {netns, rt} = await makeNamespace(t);
  using brief = netns.run(() => openRouteSocket({isBrief: true}));
  await addLink(brief, {name: 'a', info: {kind: 'veth', data: {peer: {name: 'b'}}}});
  const {ifindex} = await getLink(brief, {name: 'a'});
  // More than one datagram holds, and more answers than one buffer.
  const ips = Array.from({length: 1500}, (_, i) => ipFromValue(4, 0x0a000001n + BigInt(i)));
  await Promise.all(ips.map((ip) => addAddress(brief, {ip, prefix: 8, ifindex})));
  const [own, other] = [await listAddresses(brief, {ifindex}), await listAddresses(rt, {ifindex})];
  t.is(own.length, 1500);
  t.deepEqual(own, other);
  // Asked together, answered together.
  const [links, byName, changed] = await Promise.all([
    listLinks(brief, {kind: 'veth'}),
    getLink(brief, {name: 'b'}),
    setLink(brief, {ifindex}, {up: true}).then(() => getLink(brief, {ifindex})),
  ]);
  t.deepEqual(links.map(({name}) => name).sort(), ['a', 'b']);
  t.is(byName.name, 'b');
  t.true(changed.up);
  t.true(await removeLink(brief, {ifindex}));
});

test("a refusal comes with the kernel's sentence, and the socket goes on", async (t) => {
  const {netns} = await makeNamespace(t);
  using brief = netns.run(() => openRouteSocket({isBrief: true}));
  await t.throwsAsync(getLink(brief, {name: 'gone'}), {message: /get gone: ENODEV/});
  await addLink(brief, {name: 'a', info: {kind: 'veth', data: {peer: {name: 'b'}}}});
  const twice = addLink(brief, {name: 'a', info: {kind: 'veth', data: {peer: {name: 'c'}}}});
  await t.throwsAsync(twice, {message: /EEXIST/});
  t.is((await getLink(brief, {name: 'b'})).name, 'b');
});

test('what another thread would have to wait for is refused', async (t) => {
  const {netns} = await makeNamespace(t);
  using brief = netns.run(() => openRouteSocket({isBrief: true}));
  const asked = brief.request({
    type: rtm.delLink,
    inBackground: true,
    body: Buffer.alloc(16),
    what: 'remove',
  });
  await t.throwsAsync(asked, {message: /EOPNOTSUPP/});
  t.is((await getLink(brief, {name: 'lo'})).name, 'lo');
});

test('after it is closed nothing is asked, and nothing hangs', async (t) => {
  const {netns} = await makeNamespace(t);
  const brief = netns.run(() => openRouteSocket({isBrief: true}));
  brief.close();
  await t.throwsAsync(getLink(brief, {name: 'lo'}), {message: /closed/});
  brief.close();
});
