import test from 'ava';
import type {Json} from '../../../lib/cni/types.ts';
import {parseTuningConf} from '../../../plugins/tuning/conf.ts';
import {exampleOf, unnamedKeys} from '../../helpers/readme.ts';
import {callFor} from '../../lib/cni/helpers.ts';

test("the README's configuration is one", async (t) => {
  const {plugins} = exampleOf('tuning') as {plugins: Record<string, Json>[]};
  const {sysctls, attributes} = parseTuningConf(await callFor(plugins[1]!));
  t.deepEqual(
    sysctls.map(({path}) => path),
    ['net/core/somaxconn', 'net/ipv4/conf/eth0/arp_filter'],
  );
  t.deepEqual(attributes, {mtu: 1454, allmulti: true});
});

test('the README names every key', (t) => {
  t.deepEqual(unnamedKeys('tuning'), []);
});
