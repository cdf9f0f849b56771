import {globSync, readFileSync} from 'node:fs';
import path from 'node:path';
import test from 'ava';

const root = path.resolve(import.meta.dirname, '..');

/** What every module of the agent may use. */
const ofTheAgent = [
  'agent/catalog/',
  'agent/etcd/',
  'agent/outbound/',
  'agent/config.ts',
  'agent/fields.ts',
  'agent/module.ts',
  'agent/modules.ts',
  'agent/unix-socket.ts',
  'lib/',
];

/** Which folders may import which; the first entry that holds a file counts. */
const rules: readonly (readonly [folder: string, mayImport: readonly string[]])[] = [
  ['lib/netlink/', ['lib/netlink/', 'lib/netns/', 'lib/ip/', 'lib/errno.ts']],
  ['lib/netns/', ['lib/netns/', 'lib/errno.ts']],
  ['lib/ip/', ['lib/ip/', 'lib/netns/native.ts']],
  [
    'lib/cni/',
    [
      'lib/cni/',
      'lib/ip/',
      'lib/netns/native.ts',
      'lib/log.ts',
      'lib/errno.ts',
      'lib/clock.ts',
      'lib/files.ts',
      'package.json',
    ],
  ],
  ['lib/', ['lib/']],
  // Modules of the agent know nothing of each other, but what they are made of.
  ...Object.entries({
    cni: [],
    overlay: ['agent/membership/'],
    membership: [],
    repair: [],
    names: ['agent/dns/'],
    dns: [],
    services: [],
    registry: [],
    sharing: [],
  }).map(([module, parts]) => [`agent/${module}/`, [`agent/${module}/`, ...parts, ...ofTheAgent]] as const),
  ['agent/', ['agent/', 'lib/']],
  // cli/load-tools.ts knows the type of the agent's bundle.
  ['cli/', ['cli/', 'lib/', 'plugins/', 'package.json', 'agent/main.ts']],
];

/** A plugin knows itself and lib. */
function mayImport(file: string): readonly string[] {
  const plugin = /^plugins\/[^/]+\//.exec(file)?.[0];
  return plugin ? [plugin, 'lib/'] : (rules.find(([folder]) => file.startsWith(folder))?.[1] ?? []);
}

/** The files of the project that a file imports, for values or for types. */
function importsOf(file: string): readonly string[] {
  const text = readFileSync(path.join(root, file), 'utf8');
  return [...text.matchAll(/(?:\bfrom|^import|\bimport\()\s*['"](\.[^'"]+)['"]/gm)].map(([, to]) =>
    path.relative(root, path.resolve(root, path.dirname(file), to!)),
  );
}

const files = globSync('{lib,plugins,cli,agent}/**/*.ts', {cwd: root});

test('imports point one way', (t) => {
  const imports = files.flatMap((file) => importsOf(file).map((to) => ({file, to})));
  t.true(imports.length > files.length);
  const wrong = imports.filter(({file, to}) => !mayImport(file).some((folder) => to.startsWith(folder)));
  t.deepEqual(
    wrong.map(({file, to}) => `${file} imports ${to}`),
    [],
  );
});

test('koffi is in one file', (t) => {
  const users = files.filter((file) => /from 'koffi'/.test(readFileSync(path.join(root, file), 'utf8')));
  t.deepEqual(users, ['lib/netns/native.ts']);
});

test('what a snapshot cannot hold is not imported by what is in it', (t) => {
  const banned = /from '(?:node:)?(?:http|https|http2|tls|sqlite|crypto|perf_hooks)'/;
  const inSnapshot = files.filter((file) => !/^(?:cli|agent)\//.test(file) || file === 'cli/main.ts');
  t.deepEqual(
    inSnapshot.filter((file) => banned.test(readFileSync(path.join(root, file), 'utf8'))),
    [],
  );
});
