import test from 'ava';
import {parseBridgeConf} from '../../../plugins/bridge/conf.ts';
import {exampleOf, readmeOf, unnamedKeys} from '../../helpers/readme.ts';
import {callFor} from '../../lib/cni/helpers.ts';

test('the configuration of the README is taken as it is', async (t) => {
  const conf = parseBridgeConf(await callFor(exampleOf('bridge')));
  t.like(conf, {
    bridge: 'cni0',
    isGateway: true,
    isDefaultGateway: true,
    ipMasq: true,
    ipamType: 'host-local',
  });
});

test('the README names every key of the configuration', (t) => {
  // Those of vlanTrunk stand in its examples.
  const unnamed = unnamedKeys('bridge').filter((key) => !readmeOf('bridge').includes(`{"${key}"`));
  t.deepEqual(
    unnamed.filter((key) => key !== 'maxID'),
    [],
  );
});
