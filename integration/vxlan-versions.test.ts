import type {ExecutionContext} from 'ava';
import {makeHost} from './harness/host.ts';
import {testWith} from './harness/needs.ts';
import {makeRig} from './harness/overlay-rig.ts';
import {callPlugin, tryPlugin} from './harness/plugin.ts';
import {assertNothingLeft, staysByDesign, takeSnapshot} from './harness/snapshot.ts';

const test = testWith('root');

const versions = ['0.1.0', '0.2.0', '0.3.0', '0.3.1', '0.4.0', '1.0.0', '1.1.0'];
const checks = ['0.4.0', '1.0.0', '1.1.0'];

/** A host that has its subnet from flanneld, and a container's namespace. */
async function makeNode(t: ExecutionContext) {
  const host = await makeHost(t);
  await host.write(
    '/run/flannel/subnet.env',
    'FLANNEL_NETWORK=10.244.0.0/16\nFLANNEL_SUBNET=10.244.7.1/24\nFLANNEL_MTU=1450\nFLANNEL_IPMASQ=true\n',
  );
  const netns = await host.addNetns('pod');
  const before = await takeSnapshot(host);
  return {host, netns, before};
}

test('a delegate without addresses, at a version that cannot say so, leaves nothing', async (t) => {
  const {host, netns, before} = await makeNode(t);
  const conf = {cniVersion: '0.2.0', name: 'pods', type: 'flannel', delegate: {}, ipam: {type: ''}};
  const {code, reply} = await tryPlugin(host, {conf, netns, containerId: 'pod', command: 'ADD'});
  t.is(code, 1);
  t.regex(reply?.msg ?? '', /cannot convert: no valid IP addresses/);
  await assertNothingLeft(t, host, before, staysByDesign);
});

for (const cniVersion of versions) {
  test(`${cniVersion}: what ADD prints is what the delegate would print; CHECK and DEL follow`, async (t) => {
    const {host, netns, before} = await makeNode(t);
    const conf = {cniVersion, name: 'pods', type: 'flannel', delegate: {isDefaultGateway: true}};
    const call = {netns, containerId: 'pod'};
    const added = await tryPlugin(host, {...call, conf, command: 'ADD'});
    t.is(added.code, 0, added.stdout);
    const checked = await tryPlugin(host, {...call, conf, command: 'CHECK', prevResult: added.reply});
    t.is(checked.code, checks.includes(cniVersion) ? 0 : 1, checked.stdout);
    await callPlugin(host, {...call, conf, command: 'DEL', prevResult: added.reply});
    await assertNothingLeft(t, host, before, staysByDesign);
    const bridge = {
      cniVersion,
      name: 'pods',
      type: 'bridge',
      isDefaultGateway: true,
      mtu: 1450,
      ipam: {
        type: 'host-local',
        ranges: [[{subnet: '10.244.7.0/24', rangeStart: '10.244.7.2'}]],
        routes: [{dst: '10.244.0.0/16'}],
      },
    };
    await host.sh('rm -r /var/lib/cni/networks');
    const expected = await tryPlugin(host, {...call, conf: bridge, command: 'ADD'});
    // Hardware addresses of containers are random.
    const withoutMacs = (text: string) => text.replaceAll(/"mac": "[^"]*"/g, '"mac": ""');
    t.is(withoutMacs(added.stdout), withoutMacs(expected.stdout));
  });

  test.serial(
    `${cniVersion}: a container of an l2 network is published, whatever its result can say`,
    async (t) => {
      const rig = await makeRig(t, {hosts: 1});
      const {host, ipv4} = rig.host('h1');
      const conf = {
        cniVersion,
        name: 'blue',
        type: 'vxlan',
        static: {
          network: '10.9.0.0/16',
          form: 'l2',
          vni: 7,
          nodes: [{name: 'h1', publicIP: ipv4, subnets: ['10.9.1.0/24']}],
        },
      };
      const call = {conf, netns: await host.addNetns('pod'), containerId: 'pod'};
      await callPlugin(host, {...call, command: 'ADD'});
      const link = await host.run(host.inNetns('pod', ['ip', '-j', 'link', 'show', 'eth0']));
      const [{address}] = JSON.parse(link.stdout) as [{address: string}];
      const {stdout} = await host.sh('cat /run/weft/overlay/blue/endpoints/*.json');
      t.like(JSON.parse(stdout), {
        ips: ['10.9.1.0'],
        mac: address,
        owner: {network: 'blue', containerId: 'pod', ifName: 'eth0'},
      });
      await callPlugin(host, {...call, command: 'DEL'});
      await callPlugin(host, {...call, command: 'DEL'});
      t.is((await host.sh('ls /run/weft/overlay/blue/endpoints')).stdout, '');
    },
  );
}
