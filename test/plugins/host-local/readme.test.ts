import {readFileSync} from 'node:fs';
import test from 'ava';

const read = (path: string) => readFileSync(new URL(`../../../${path}`, import.meta.url), 'utf8');
const readme = read('plugins/host-local/README.md');

test('the example of the README is the file in conf/', (t) => {
  const example = /```json\n([^]*?)```/.exec(readme)?.[1] ?? '';
  t.is(example, read('conf/dual-stack.conflist'));
});

test('the README names every key of the configuration', (t) => {
  const source = read('plugins/host-local/conf.ts');
  const schemas = source.slice(source.indexOf('const range = {'), source.indexOf('const storeSchema'));
  const keys = [...schemas.matchAll(/^\s+(\w+): /gm), ...schemas.matchAll(/(\w+): (?:text|path)/g)].map(
    (match) => match[1]!,
  );
  const unnamed = keys.filter(
    (key) => !['ipam', 'args', 'type'].includes(key) && !readme.includes(`\`${key}`),
  );
  t.true(keys.includes('statusFailsWhenFull') && keys.includes('dataDir'));
  t.deepEqual(
    unnamed.filter((key) => key !== 'runtimeConfig'),
    [],
  );
});
