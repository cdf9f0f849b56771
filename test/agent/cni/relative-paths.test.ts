import {globSync, readFileSync} from 'node:fs';
import test from 'ava';
import {hasRelativePath, pathKeys} from '../../../agent/cni/relative-paths.ts';

for (const [why, env, conf, expected] of [
  ['nothing names a file', {}, {}, false],
  [
    'the usual call',
    {CNI_NETNS: '/run/netns/a', CNI_PATH: '/opt/cni/bin:/usr/lib/cni'},
    {ipam: {dataDir: '/x'}},
    false,
  ],
  ['an empty element of CNI_PATH is left out', {CNI_PATH: ':/opt/cni/bin:'}, {}, false],
  ['CNI_NETNS', {CNI_NETNS: 'netns/a'}, {}, true],
  ['CNI_PATH', {CNI_PATH: '/opt/cni/bin:bin'}, {}, true],
  ['a key deep down, in any case', {}, {ipam: {ranges: [[{DATADIR: 'x'}]]}}, true],
  ['a list', {}, {plugins: [{logFile: 'weft.log'}]}, true],
  ['another key', {}, {name: 'x', subnet: '10.0.0.0/8'}, false],
  ['a key that is no text', {}, {dataDir: 7, logFile: null, resolvConf: ''}, false],
] as const) {
  test(why, (t) => {
    t.is(hasRelativePath(env, JSON.stringify(conf)), expected);
  });
}

test('what is no configuration names no file', (t) => {
  t.false(hasRelativePath({}, '{'));
});

test('every key of a configuration that sounds like a path is known', (t) => {
  const root = new URL('../../../', import.meta.url).pathname;
  const found = new Set<string>();
  for (const file of globSync(['plugins/**/*.ts', 'lib/**/*.ts'], {cwd: root})) {
    const source = readFileSync(root + file, 'utf8');
    const keys =
      /\b(\w*(?:dir|file|path|conf|socket))['"]?: (?:z\.|(?:text|path)\b)|findKey\(\w+, '(\w*(?:dir|file|path))'\)/gi;
    for (const [, key, looked] of source.matchAll(keys)) found.add((key ?? looked)!.toLowerCase());
  }
  // Of a result, of the environment, or of what we wrote ourselves.
  for (const key of ['socketpath', 'cni_path']) found.delete(key);
  t.deepEqual(
    [...found].filter((key) => !pathKeys.has(key)),
    [],
  );
  t.true(found.has('datadir') && found.has('logfile') && found.has('resolvconf'));
});
