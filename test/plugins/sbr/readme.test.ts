import test from 'ava';
import type {Json} from '../../../lib/cni/types.ts';
import {parseSbrConf} from '../../../plugins/sbr/conf.ts';
import {exampleOf, unnamedKeys} from '../../helpers/readme.ts';
import {callFor} from '../../lib/cni/helpers.ts';

test("the README's configuration is one", async (t) => {
  const {plugins} = exampleOf('sbr') as {plugins: Record<string, Json>[]};
  const prevResult = {cniVersion: '1.0.0', ips: [{address: '10.20.0.7/16'}]};
  t.true(parseSbrConf(await callFor({...plugins[1]!, prevResult})).addSourceHints);
});

test('the README names every key', (t) => {
  t.deepEqual(unnamedKeys('sbr'), []);
});
