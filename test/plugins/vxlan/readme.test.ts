import test from 'ava';
import type {Json, JsonObject} from '../../../lib/cni/types.ts';
import {readStaticNetwork} from '../../../lib/overlay/static-file.ts';
import {parseVxlanConf} from '../../../plugins/vxlan/conf.ts';
import {exampleOf, readmeOf, unnamedKeys} from '../../helpers/readme.ts';
import {callFor} from '../../lib/cni/helpers.ts';

test("the README's configurations are some", async (t) => {
  const {static: members, template} = parseVxlanConf(await callFor(exampleOf('vxlan')));
  t.deepEqual(template.delegate, {hairpinMode: true, isDefaultGateway: true});
  const {members: hosts} = readStaticNetwork(members as JsonObject, {name: 'pods', source: 'README.md'});
  t.deepEqual(
    hosts.map(({id}) => id),
    ['node-a', 'node-b'],
  );
  const examples = [...readmeOf('vxlan').matchAll(/```json\n([^]*?)```/g)].map(
    ([, text]) => JSON.parse(text!) as {readonly [key: string]: Json},
  );
  t.is(examples.length, 2);
  t.like(parseVxlanConf(await callFor(examples[1]!)), {network: 'cbr0', static: undefined});
});

test('the README names every key', (t) => {
  t.deepEqual(unnamedKeys('vxlan'), []);
});
