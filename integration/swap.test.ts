import {ensurePackages} from './harness/debian.ts';
import {makeHost} from './harness/host.ts';
import {testWith} from './harness/needs.ts';
import {bridgeNetwork} from './harness/networks.ts';
import {callPlugin, referenceDir, tryPlugin} from './harness/plugin.ts';
import {assertNothingLeft, staysByDesign, takeSnapshot} from './harness/snapshot.ts';

const test = testWith('root', 'apt');

// Debian's reference plugins are of 1.1.1: spec version 1.0.0 is their newest.
const masqueraded = bridgeNetwork({name: 'swapped'});
const plain = bridgeNetwork({name: 'swapped', ipMasq: false});
const allowed = [...staysByDesign, /^file \/run\/xtables.lock$/];

test.before(async () => {
  await ensurePackages('reference');
});

test('the harness sees nothing left when the reference removes what the reference made', async (t) => {
  const host = await makeHost(t);
  const call = {conf: masqueraded, containerId: 'swapped-1', netns: await host.addNetns('pod')};
  const before = await takeSnapshot(host);
  const prevResult = await callPlugin(host, {...call, command: 'ADD', dir: referenceDir()});
  await callPlugin(host, {...call, command: 'DEL', dir: referenceDir(), prevResult});
  await assertNothingLeft(t, host, before, allowed);
});

for (const [title, conf] of [
  ['a container of the reference plugins is removed by ours', plain],
  ['a masqueraded container of the reference plugins is removed by ours', masqueraded],
] as const)
  test(title, async (t) => {
    const host = await makeHost(t);
    const call = {conf, containerId: 'swapped-1', netns: await host.addNetns('pod')};
    const before = await takeSnapshot(host);
    const prevResult = await callPlugin(host, {...call, command: 'ADD', dir: referenceDir()});
    await callPlugin(host, {...call, command: 'CHECK', prevResult});
    await callPlugin(host, {...call, command: 'DEL', prevResult});
    await callPlugin(host, {...call, command: 'DEL', prevResult});
    const links = await host.run(host.inNetns('pod', ['ip', '-o', 'link']));
    t.notRegex(links.stdout, /eth0/);
    await assertNothingLeft(t, host, before, allowed);
  });

test('a masqueraded container of the reference plugins that lost its namespace is removed by ours', async (t) => {
  const host = await makeHost(t);
  const before = await takeSnapshot(host);
  const call = {conf: masqueraded, containerId: 'swapped-1', netns: await host.addNetns('pod')};
  const prevResult = await callPlugin(host, {...call, command: 'ADD', dir: referenceDir()});
  await host.removeNetns('pod');
  await callPlugin(host, {...call, command: 'DEL', prevResult});
  await assertNothingLeft(t, host, before, allowed);
});

test('a container of ours is removed by the reference plugins', async (t) => {
  const host = await makeHost(t);
  const call = {conf: plain, containerId: 'swapped-1', netns: await host.addNetns('pod')};
  const before = await takeSnapshot(host);
  const prevResult = await callPlugin(host, {...call, command: 'ADD'});
  await callPlugin(host, {...call, command: 'CHECK', dir: referenceDir(), prevResult});
  await callPlugin(host, {...call, command: 'DEL', dir: referenceDir(), prevResult});
  await assertNothingLeft(t, host, before, allowed);
});

test('of a masqueraded container of ours the reference plugins leave only map elements, which GC removes', async (t) => {
  const host = await makeHost(t);
  const conf = {...masqueraded, cniVersion: '1.0.0'};
  const call = {conf, containerId: 'swapped-1', netns: await host.addNetns('pod')};
  const before = await takeSnapshot(host);
  const prevResult = await callPlugin(host, {...call, command: 'ADD'});
  // 1.1.1 reports that its own chain is not there, after it removed the interface and the address.
  const first = await tryPlugin(host, {...call, command: 'DEL', dir: referenceDir(), prevResult});
  if (first.code !== 0) t.regex(first.reply?.msg ?? '', /iptables/);
  await callPlugin(host, {...call, command: 'DEL', dir: referenceDir(), prevResult});
  const elements = /^nft map inet weft masq-addresses[46] element .*swapped-1/;
  await assertNothingLeft(t, host, before, [...allowed, elements]);
  await callPlugin(host, {...call, conf: {...conf, cniVersion: '1.1.0'}, command: 'GC', attachments: []});
  await assertNothingLeft(t, host, before, allowed);
});

test("CHECK is content with the reference's masquerading unless the configuration names nftables", async (t) => {
  const host = await makeHost(t);
  const call = {conf: masqueraded, containerId: 'swapped-1', netns: await host.addNetns('pod')};
  const prevResult = await callPlugin(host, {...call, command: 'ADD', dir: referenceDir()});
  await callPlugin(host, {...call, command: 'CHECK', prevResult});
  const conf = {...masqueraded, ipMasqBackend: 'nftables'};
  const named = await tryPlugin(host, {...call, conf, command: 'CHECK', prevResult});
  t.regex(named.reply?.msg ?? '', /is not masqueraded: map inet weft/);
  await host.sh('iptables -t nat -F POSTROUTING');
  const flushed = await tryPlugin(host, {...call, command: 'CHECK', prevResult});
  t.is(flushed.code, 1);
  t.regex(flushed.reply?.msg ?? '', /is not masqueraded: map inet weft/);
});

test('the address of a container that the reference plugins removed is masqueraded for its next owner', async (t) => {
  const host = await makeHost(t);
  const ranges = [[{subnet: '10.61.0.0/24', rangeStart: '10.61.0.9', rangeEnd: '10.61.0.9'}]];
  const conf = {...masqueraded, ipam: {...masqueraded.ipam, ranges}};
  const one = {conf, containerId: 'one', netns: await host.addNetns('one')};
  const two = {conf, containerId: 'two', netns: await host.addNetns('two')};
  const prevResult = await callPlugin(host, {...one, command: 'ADD'});
  await tryPlugin(host, {...one, command: 'DEL', dir: referenceDir(), prevResult});
  const added = await callPlugin(host, {...two, command: 'ADD'});
  t.is(added.ips?.[0]?.address, '10.61.0.9/24');
  await callPlugin(host, {...two, command: 'CHECK', prevResult: added});
});
