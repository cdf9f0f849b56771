import test from 'ava';
import type {Json} from '../../../lib/cni/types.ts';
import {parseDiscoveryConf} from '../../../plugins/discovery/conf.ts';
import {exampleOf, unnamedKeys} from '../../helpers/readme.ts';
import {callFor} from '../../lib/cni/helpers.ts';

test("the README's configuration is one", async (t) => {
  const {plugins} = exampleOf('discovery') as {plugins: Record<string, Json>[]};
  t.is(parseDiscoveryConf(await callFor(plugins[1]!)).domain, 'named.internal');
});

test('the README names every key', (t) => {
  t.deepEqual(unnamedKeys('discovery'), []);
});
