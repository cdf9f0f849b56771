import {readFileSync} from 'node:fs';
import test from 'ava';
import {parsePortmapConf} from '../../../plugins/portmap/conf.ts';
import {exampleOf, readmeOf, unnamedKeys} from '../../helpers/readme.ts';
import {callFor} from '../../lib/cni/helpers.ts';

interface List {
  readonly plugins: readonly Record<string, unknown>[];
}

test('the page shows conf/ports.conflist, and it is a configuration', async (t) => {
  const list = exampleOf('portmap') as unknown as List;
  const file = readFileSync(new URL('../../../conf/ports.conflist', import.meta.url), 'utf8');
  t.deepEqual(list, JSON.parse(file) as List);
  // The mappings that the page shows, as a runtime adds them.
  const mappings = /```\n(\[\{"hostPort"[^]*?)```/.exec(readmeOf('portmap'))?.[1] ?? '';
  const portMappings = JSON.parse(mappings) as unknown;
  const conf = parsePortmapConf(
    await callFor({cniVersion: '1.0.0', ...list.plugins[1], runtimeConfig: {portMappings}}),
  );
  t.like(conf.mappings[0], {hostPort: 8080, containerPort: 80, protocol: 'tcp', family: 4});
});

test("the page's conditions are understood", async (t) => {
  const line = /"conditionsV4": (\[.*\])/.exec(readmeOf('portmap'))?.[1] ?? '';
  const conditionsV4 = JSON.parse(line) as unknown;
  const conf = parsePortmapConf(await callFor({cniVersion: '1.0.0', type: 'portmap', conditionsV4}));
  t.is(conf.conditions[4]?.alternatives.length, 2);
});

test('the page names every key', (t) => {
  t.deepEqual(unnamedKeys('portmap'), []);
});
