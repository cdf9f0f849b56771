import type {ExecutionContext} from 'ava';
import {ensurePackages} from './harness/debian.ts';
import {makeHost} from './harness/host.ts';
import {testWith} from './harness/needs.ts';
import {pluginDir} from './harness/paths.ts';
import {callPlugin, referenceDir} from './harness/plugin.ts';
import {assertNothingLeft, staysByDesign, takeSnapshot} from './harness/snapshot.ts';

const test = testWith('root', 'apt');

// Debian's reference plugins are of 1.1.1 and end at spec version 1.0.0.
const conf = {
  cniVersion: '1.0.0',
  name: 'swapped',
  type: 'bridge',
  bridge: 'cni0',
  isGateway: true,
  ipMasq: true,
  ipam: {
    type: 'host-local',
    ranges: [[{subnet: '10.61.0.0/24'}], [{subnet: '2001:db8:61::/64'}]],
    routes: [{dst: '0.0.0.0/0'}, {dst: '::/0'}],
  },
};

// The reference's chains of ipMasq are per container; its tables and ours stay.
const allowed = [...staysByDesign, /^file \/run\/xtables.lock$/];

/** ADD by one suite, DEL by the other. */
async function swap(t: ExecutionContext, from: string, to: string): Promise<void> {
  const host = await makeHost(t);
  const netns = await host.addNetns('pod');
  const before = await takeSnapshot(host);
  const call = {conf, containerId: 'swapped-1', netns, ifName: 'eth0'};
  const prevResult = await callPlugin(host, {...call, command: 'ADD', dir: from});
  t.is(prevResult.ips?.length, 2);
  if (from === to || to === pluginDir)
    await callPlugin(host, {...call, command: 'CHECK', dir: to, prevResult});
  await callPlugin(host, {...call, command: 'DEL', dir: to, prevResult});
  await callPlugin(host, {...call, command: 'DEL', dir: to, prevResult});
  const links = await host.run(host.inNetns('pod', ['ip', '-o', 'link']));
  t.notRegex(links.stdout, /eth0/);
  await assertNothingLeft(t, host, before, allowed);
}

test.before(async () => {
  await ensurePackages('reference');
});

test('the harness sees nothing left when the reference removes what the reference made', async (t) => {
  await swap(t, referenceDir(), referenceDir());
});

test('a container of the reference plugins is checked and removed by ours', async (t) => {
  await swap(t, referenceDir(), pluginDir);
});

test('a container of ours is removed by the reference plugins', async (t) => {
  await swap(t, pluginDir, referenceDir());
});

test('ours removes what ours made', async (t) => {
  await swap(t, pluginDir, pluginDir);
});
