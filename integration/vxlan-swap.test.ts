import {attach, check} from './harness/attachment.ts';
import {ensurePackages} from './harness/debian.ts';
import {makeHost, type TestHost} from './harness/host.ts';
import {testWith} from './harness/needs.ts';
import {callPlugin, referenceDir} from './harness/plugin.ts';
import {assertNothingLeft, staysByDesign, takeSnapshot} from './harness/snapshot.ts';

// flannel's plugin in Go is in no Debian package: what it does is done by hand here, with the reference's bridge. It writes the
// rendered configuration to /var/lib/cni/flannel/<container> and calls the delegate; its DEL calls it with what is in that file.

const test = testWith('root', 'apt');

const network = {cniVersion: '0.3.1', name: 'cbr0', type: 'flannel', delegate: {isDefaultGateway: true}};
const env = `FLANNEL_NETWORK=10.244.0.0/16
FLANNEL_SUBNET=10.244.7.1/24
FLANNEL_MTU=1450
FLANNEL_IPMASQ=true
`;
const rendered = {
  cniVersion: '0.3.1',
  ipMasq: false,
  ipam: {ranges: [[{subnet: '10.244.7.0/24'}]], routes: [{dst: '10.244.0.0/16'}], type: 'host-local'},
  isDefaultGateway: true,
  isGateway: true,
  mtu: 1450,
  name: 'cbr0',
  type: 'bridge',
};
const scratch = '/var/lib/cni/flannel/pod';

/** flannel's ADD or DEL. */
async function flannel(host: TestHost, command: 'ADD' | 'DEL', netns: string) {
  if (command === 'ADD') await host.write(scratch, JSON.stringify(rendered));
  const conf = JSON.parse(await host.read(scratch)) as Record<string, unknown>;
  const reply = await callPlugin(host, {conf, command, netns, containerId: 'pod', dir: referenceDir()});
  if (command === 'DEL') await host.sh(`rm ${scratch}`);
  return reply;
}

test.before(async () => {
  await ensurePackages('reference');
});

test("a container that flannel's plugin connected: CHECK, DEL and GC by ours", async (t) => {
  const host = await makeHost(t);
  await host.write('/run/flannel/subnet.env', env);
  const before = await takeSnapshot(host);
  for (const how of ['DEL', 'DEL after a reboot', 'DEL without a subnet file', 'GC'] as const) {
    const netns = await host.addNetns('pod');
    const prevResult = await flannel(host, 'ADD', netns);
    const conf = {...network, cniVersion: '0.4.0'};
    const current = {...prevResult, cniVersion: '0.4.0'};
    const call = {conf, netns, containerId: 'pod'};
    await callPlugin(host, {...call, command: 'CHECK', prevResult: current});
    if (how !== 'DEL') await host.removeNetns('pod');
    if (how === 'DEL without a subnet file') await host.sh('rm /run/flannel/subnet.env');
    if (how === 'GC')
      await callPlugin(host, {conf: {...network, cniVersion: '1.1.0'}, command: 'GC', attachments: []});
    else await callPlugin(host, {...call, command: 'DEL'});
    if (how === 'DEL') await host.removeNetns('pod');
    await host.write('/run/flannel/subnet.env', env);
    await assertNothingLeft(t, host, before, staysByDesign);
  }
});

test("a container that ours connected: DEL by flannel's plugin", async (t) => {
  const host = await makeHost(t);
  await host.write('/run/flannel/subnet.env', env);
  const before = await takeSnapshot(host);
  const pod = await attach(host, 'pod', {...network, cniVersion: '1.0.0'});
  t.is((await check(host, pod)).code, 0);
  t.deepEqual(JSON.parse(await host.read(scratch)), {...rendered, cniVersion: '1.0.0'});
  await flannel(host, 'DEL', pod.netns);
  await host.removeNetns('pod');
  // Our own name of the file, which GC removes.
  await assertNothingLeft(t, host, before, [...staysByDesign, /^file \/var\/lib\/cni\/flannel\/\.weft\//]);
  await callPlugin(host, {conf: {...network, cniVersion: '1.1.0'}, command: 'GC', attachments: []});
  await assertNothingLeft(t, host, before, staysByDesign);
});
