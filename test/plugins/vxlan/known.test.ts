import {mkdtempSync, writeFileSync} from 'node:fs';
import {tmpdir} from 'node:os';
import path from 'node:path';
import test from 'ava';
import {listHostLocalNetworks} from '../../../cli/host-local-networks.ts';
import {writeOverlayState} from '../../../lib/overlay/state-file.ts';
import {formatRangeSet} from '../../../plugins/host-local/range.ts';
import {renderDelegate} from '../../../plugins/vxlan/render.ts';
import {findDelegateConf, findKnownNetwork} from '../../../plugins/vxlan/known.ts';
import {findTemplate} from '../../../plugins/vxlan/conf.ts';
import {callFor} from '../../lib/cni/helpers.ts';
import {dualStack} from './helpers.ts';

function makeHost() {
  const folder = mkdtempSync(path.join(tmpdir(), 'weft-'));
  const subnetFile = path.join(folder, 'subnet.env');
  writeFileSync(subnetFile, dualStack);
  return {folder, subnetFile, runDir: path.join(folder, 'run')};
}

const rangesOf = async (conf: object) => {
  const call = await callFor({type: 'vxlan', ...conf});
  const rendered = renderDelegate(findTemplate(call)!, findKnownNetwork(call));
  return (rendered['ipam'] as {ranges?: {subnet: string}[][]}).ranges?.flat().map(({subnet}) => subnet);
};

test('what a DEL without what was written down goes by', async (t) => {
  const {subnetFile, runDir} = makeHost();
  const prevResult = {
    cniVersion: '1.0.0',
    interfaces: [{name: 'eth0', sandbox: '/x'}, {name: 'other'}],
    ips: [
      {address: '10.5.6.7/24', interface: 0},
      {address: '10.9.9.9/24', interface: 1},
    ],
  };
  t.deepEqual(await rangesOf({subnetFile, runDir}), ['10.1.17.0/24', 'fc00::/64']);
  t.deepEqual(await rangesOf({subnetFile, runDir, prevResult}), ['10.5.6.0/24']);
  t.deepEqual(await rangesOf({subnetFile: '/no', runDir, prevResult}), ['10.5.6.0/24']);
  t.is(await rangesOf({subnetFile: '/no', runDir}), undefined);
  // The agent's file says nothing of a network that is written down.
  t.is(await rangesOf({subnetFile, runDir, static: {}}), undefined);
});

test('`weft status` and `weft gc` know the ranges of a network that delegates', (t) => {
  const {folder, subnetFile, runDir} = makeHost();
  const plugin = {type: 'flannel', subnetFile, runDir, ipam: {dataDir: path.join(folder, 'networks')}};
  const conflist = {cniVersion: '1.0.0', name: 'cbr0', plugins: [plugin, {type: 'portmap'}]};
  writeFileSync(path.join(folder, '10-flannel.conflist'), JSON.stringify(conflist));
  const list = () =>
    listHostLocalNetworks({
      confDir: folder,
      dataDir: path.join(folder, 'networks'),
      warn: (text) => t.fail(text),
    });
  const [found] = list();
  t.is(found?.network, 'cbr0');
  t.deepEqual(found?.sets?.map(formatRangeSet), [
    '10.1.17.1-10.1.17.254',
    'fc00::1-fc00::ffff:ffff:ffff:ffff',
  ]);
  writeOverlayState(
    {network: 'cbr0', ready: true, subnetFile, subnets: [], form: 'l2', bridge: 'br-vx7'},
    runDir,
  );
  t.is(findDelegateConf({name: 'cbr0', conf: plugin})?.['bridge'], 'br-vx7');
});
