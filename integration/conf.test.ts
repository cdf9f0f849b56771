import {readdirSync, readFileSync} from 'node:fs';
import path from 'node:path';
import {makeHost} from './harness/host.ts';
import {testWith} from './harness/needs.ts';
import {overlayNode, overlayStays} from './harness/overlay-node.ts';
import {pluginDir, repository} from './harness/paths.ts';
import type {Reply} from './harness/plugin.ts';
import {assertNothingLeft, staysByDesign, takeSnapshot} from './harness/snapshot.ts';

const test = testWith('root');
const directory = path.join(repository, 'conf');

for (const file of readdirSync(directory).filter((name) => name.endsWith('.conflist')))
  test(`conf/${file} makes a network with cnitool`, async (t) => {
    const conflist = JSON.parse(readFileSync(path.join(directory, file), 'utf8')) as {
      readonly name: string;
      readonly plugins: readonly {readonly bridge?: string; readonly delegate?: {readonly bridge?: string}}[];
    };
    const host = await makeHost(t);
    await host.sh(overlayNode);
    await host.addNetns('pod');
    const before = await takeSnapshot(host);
    const cnitool = (verb: string) =>
      host.run([path.join(pluginDir, 'cnitool'), verb, conflist.name, '/run/netns/pod'], {
        env: {CNI_PATH: pluginDir, NETCONFPATH: directory},
      });
    const {ips = []} = JSON.parse((await cnitool('add')).stdout) as Reply;
    t.true(ips.length > 0);
    for (const {gateway = ''} of ips)
      await host.run(host.inNetns('pod', ['ping', '-c', '1', '-W', '2', gateway]));
    await cnitool('check');
    await cnitool('del');
    const [first] = conflist.plugins;
    const bridge = first?.bridge ?? first?.delegate?.bridge ?? '(cni0|br-vx7)';
    const ofTheBridge = new RegExp(`^(address|route \\S+ ) ${bridge} `);
    await assertNothingLeft(t, host, before, [...staysByDesign, ofTheBridge, ...overlayStays]);
  });
