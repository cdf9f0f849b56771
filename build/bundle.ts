import {createHash} from 'node:crypto';
import * as esbuild from 'esbuild';

import {readClientSources} from './client.ts';
import {listPlugins} from './plugins.ts';
import {root} from './paths.ts';
import {precompile, readPrecompiledNames, withPrecompiling} from './precompile.ts';
import {bundleSeldom, formatShared, isSeldom} from './seldom-plugins.ts';

/** Stands in the bundles where the hash of the bundles belongs; as long as the hash. */
const idPlaceholder = '@bundle-hash@@@@';

/** The program as CommonJS scripts. */
export interface Bundles {
  /** cli/main.ts with lib/ and plugins/: evaluated once, into the start-up snapshot. */
  readonly main: string;
  /** Source map of `main`, whose names are short: build/where.ts reads it. */
  readonly map: string;
  /** What is evaluated in the process that asks for it, by name: see cli/load-tools.ts. */
  readonly loaded: Readonly<Record<string, string>>;
  /** SHA-256 of all, and of the native client: the same sources give the same hash. */
  readonly hash: string;
}

const entries = {tools: 'cli/tools.ts', agent: 'agent/main.ts'} as const;

/** Packages that nearly no call needs, with what of each is used: scripts of their own, not in the start-up snapshot. */
const seldom: Readonly<Record<string, readonly string[]>> = {pino: ['pino'], 'dbus-native': ['createClient']};

/** Bundles the program; `version` is what `weft version` says. */
export async function bundle(version: string): Promise<Bundles> {
  const folders = listPlugins()
    .map(({folder}) => folder)
    .filter((folder) => isSeldom(folder));
  const snapshotFiles = await listSnapshotFiles(version);
  const options = {...common, plugins: pluginsFor(version)};
  const scripts = await Promise.all(folders.map((folder) => bundleSeldom(folder, {snapshotFiles, options})));
  const shared = formatShared(scripts.map((script) => script.shared));
  const [{text: main, map}, ...texts] = await Promise.all([
    bundleMain(version, shared),
    ...Object.values(entries).map((entry) => bundleEntry({entry, version})),
    ...Object.keys(seldom).map((name) => bundlePackage(name)),
  ]);
  texts.push(...scripts.map(({text}) => text));
  const hash = createHash('sha256')
    .update([main, ...texts, readClientSources()].join('\0'))
    .digest('hex');
  const finish = (text: string) => text.replaceAll(idPlaceholder, hash.slice(0, idPlaceholder.length));
  const names = [
    ...Object.keys(entries),
    ...Object.keys(seldom),
    ...folders.map((folder) => `plugin-${folder}`),
  ];
  const loaded = Object.fromEntries(names.map((name, i) => [name, finish(texts[i]!)]));
  return {main: finish(main), map, loaded, hash};
}

const common = {
  absWorkingDir: root,
  write: false,
  bundle: true,
  platform: 'node',
  format: 'cjs',
  target: 'node24',
  supported: {using: true},
  minifyWhitespace: true,
  minifySyntax: true,
  // One character beyond Latin-1 and V8 keeps the whole script with two bytes each: 2 ms of every start-up.
  charset: 'ascii',
  legalComments: 'none',
  logLevel: 'warning',
} as const satisfies esbuild.BuildOptions;

/** Bundles what is in the start-up snapshot. Its names are short there: with the long ones a call needs 1 MB more. */
async function bundleMain(
  version: string,
  shared: string,
): Promise<{readonly text: string; readonly map: string}> {
  const {outputFiles} = await esbuild.build({
    ...common,
    entryPoints: ['cli/main.ts'],
    outfile: 'main.cjs',
    minifyIdentifiers: true,
    sourcemap: 'external',
    sourcesContent: false,
    plugins: [precompile(readPrecompiledNames()), ...pluginsFor(version, shared)],
  });
  const find = (end: string) => outputFiles.find(({path}) => path.endsWith(end))!.text;
  return {text: withPrecompiling(find('.cjs')), map: find('.map')};
}

/** What of the repository is in the start-up snapshot, whatever the scripts beside it use. */
async function listSnapshotFiles(version: string): Promise<ReadonlySet<string>> {
  const {metafile} = await esbuild.build({
    ...common,
    entryPoints: ['cli/main.ts'],
    metafile: true,
    plugins: pluginsFor(version, formatShared([])),
  });
  return new Set(Object.keys(metafile.inputs));
}

/** Bundles one entry file as the executable wants it. */
export async function bundleEntry({
  entry,
  version,
  keepsLines = false,
}: {
  readonly entry: string;
  readonly version: string;
  /** Lines and comments stay as they are, so that one can tell which file a line is from. */
  readonly keepsLines?: boolean;
}): Promise<string> {
  const {outputFiles} = await esbuild.build({
    ...common,
    entryPoints: [entry],
    minifyWhitespace: !keepsLines,
    minifySyntax: !keepsLines,
    plugins: pluginsFor(version),
  });
  return outputFiles[0]!.text;
}

async function bundlePackage(name: string): Promise<string> {
  const {outputFiles} = await esbuild.build({
    ...common,
    stdin: {contents: `module.exports = require(${JSON.stringify(name)});`, resolveDir: root},
  });
  return outputFiles[0]!.text;
}

function pluginsFor(version: string, shared?: string): esbuild.Plugin[] {
  return [virtualModules(version, shared), lazyAddons, lazyPackages, lazyBuiltins];
}

/**
 * `weft:plugins` is the table of plugins by name, `weft:release` what this build is, `weft:shared` what the scripts of
 * plugins use that are not in the snapshot; without `shared` all plugins are.
 */
function virtualModules(version: string, shared?: string): esbuild.Plugin {
  return {
    name: 'weft',
    setup(build) {
      build.onResolve({filter: /^weft:/}, ({path}) => ({
        path: path.slice('weft:'.length),
        namespace: 'weft',
      }));
      build.onLoad({filter: /^plugins$/, namespace: 'weft'}, () => ({
        contents: pluginTable({withSeldom: shared === undefined}),
        resolveDir: root,
      }));
      build.onLoad({filter: /^shared$/, namespace: 'weft'}, () => ({
        contents: shared ?? formatShared([]),
        resolveDir: root,
      }));
      build.onLoad({filter: /^release$/, namespace: 'weft'}, () => ({
        contents: `export const release = ${JSON.stringify({version, id: idPlaceholder})};`,
      }));
    },
  };
}

function pluginTable({withSeldom}: {readonly withSeldom: boolean}): string {
  const folders = listPlugins().map(({folder, names}, i) => {
    const isInside = withSeldom || !isSeldom(folder);
    const make = isInside ? `() => plugin${i}` : `() => loadPlugin(${JSON.stringify(folder)}, shared)`;
    return {
      load: isInside ? [`import {plugin as plugin${i}} from './plugins/${folder}/plugin.ts';`] : [],
      entries: names.map((name) => `  [${JSON.stringify(name)}, ${make}],`),
    };
  });
  return [
    "import {loadPlugin} from './cli/load-tools.ts';",
    "import {PluginTable} from './cli/plugin-table.ts';",
    "import {shared} from 'weft:shared';",
    ...folders.flatMap(({load}) => load),
    'export const plugins = new PluginTable([',
    ...folders.flatMap(({entries}) => entries),
    ']);',
  ].join('\n');
}

/**
 * A snapshot cannot hold a native addon, and both packages load theirs as soon as they are
 * evaluated, from a path beside them. So they get an object that loads it on first use, from beside the
 * executable: see cli/addon.ts.
 */
const lazyAddons: esbuild.Plugin = {
  name: 'lazy-addons',
  setup(build) {
    build.onResolve({filter: /^(koffi|node-gyp-build)$/}, ({path}) => ({path, namespace: 'addon'}));
    build.onLoad({filter: /^koffi$/, namespace: 'addon'}, () => ({
      contents: `module.exports = require('./cli/addon.ts').lazyAddon('koffi.node');`,
      resolveDir: root,
    }));
    build.onLoad({filter: /^node-gyp-build$/, namespace: 'addon'}, () => ({
      contents: `module.exports = () => require('./cli/addon.ts').lazyAddon('netlink.node');`,
      resolveDir: root,
    }));
  },
};

/** Whoever imports one of these packages gets it when what is used of it is first asked for, from its own script. */
const lazyPackages: esbuild.Plugin = {
  name: 'lazy-packages',
  setup(build) {
    const filter = new RegExp(`^(${Object.keys(seldom).join('|')})$`);
    build.onResolve({filter}, ({path}) => ({path, namespace: 'package'}));
    build.onLoad({filter: /./, namespace: 'package'}, ({path}) => ({
      contents: (seldom[path] ?? [])
        .map((name) => {
          const get = `() => require('./cli/load-tools.ts').loadPackage(${JSON.stringify(path)}).${name}`;
          return `Object.defineProperty(exports, ${JSON.stringify(name)}, {enumerable: true, get: ${get}});`;
        })
        .join('\n'),
      resolveDir: root,
    }));
  },
};

/**
 * Modules of Node's that few calls need, each half a millisecond to one of every start-up even out of the snapshot: loaded
 * when one of their functions is first asked for.
 */
const lazyBuiltins: esbuild.Plugin = {
  name: 'lazy-builtins',
  setup(build) {
    build.onResolve({filter: /^node:(child_process|dgram|net)$/}, ({path}) => ({path, namespace: 'builtin'}));
    build.onLoad({filter: /./, namespace: 'builtin'}, ({path}) => ({
      contents: Object.keys(process.getBuiltinModule(path) as object)
        .map((key) => `lazy(${JSON.stringify(key)});`)
        .join('\n').concat(`
function lazy(key) {
  const get = () => process.getBuiltinModule(${JSON.stringify(path)})[key];
  Object.defineProperty(exports, key, {enumerable: true, get});
}`),
    }));
  },
};
