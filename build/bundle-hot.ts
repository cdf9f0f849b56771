import {createHash} from 'node:crypto';
import * as esbuild from 'esbuild';

import {readClientSources} from './client.ts';
import {listPlugins} from './plugins.ts';
import {root} from './paths.ts';

/** Stands in the bundles where the hash of the bundles belongs; as long as the hash. */
const idPlaceholder = '@bundle-hash@@@@';

/** The program as three CommonJS scripts. */
export interface Bundles {
  /** cli/main.ts with lib/ and plugins/: evaluated once, into the start-up snapshot. */
  readonly main: string;
  /** cli/tools.ts: the command line tools, evaluated when one of them is called. */
  readonly tools: string;
  /** agent/main.ts: the node agent. */
  readonly agent: string;
  /** 16 hex digits of the hash of all, and of the native client: the same sources give the same id. */
  readonly id: string;
}

/** Bundles the program; `version` is what `weft version` says. */
export async function bundle(version: string): Promise<Bundles> {
  const texts = await Promise.all(
    ['cli/main.ts', 'cli/tools.ts', 'agent/main.ts'].map((entry) => bundleEntry({entry, version})),
  );
  const id = createHash('sha256')
    .update([...texts, readClientSources()].join('\0'))
    .digest('hex')
    .slice(0, 16);
  const [main, tools, agent] = texts.map((text) => text.replaceAll(idPlaceholder, id)) as [
    string,
    string,
    string,
  ];
  return {main, tools, agent, id};
}

/** Bundles one entry file as the executable wants it. */
export async function bundleEntry({entry, version}: {entry: string; version: string}): Promise<string> {
  const {outputFiles} = await esbuild.build({
    entryPoints: [entry],
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
    plugins: [hot, virtualModules(version), lazyAddons, lazyPackages, lazyBuiltins],
  });
  return outputFiles[0]!.text;
}

/** `weft:plugins` is the table of plugins by name, `weft:release` what this build is. */
function virtualModules(version: string): esbuild.Plugin {
  return {
    name: 'weft',
    setup(build) {
      build.onResolve({filter: /^weft:/}, ({path}) => ({
        path: path.slice('weft:'.length),
        namespace: 'weft',
      }));
      build.onLoad({filter: /^plugins$/, namespace: 'weft'}, () => ({
        contents: pluginTable(),
        resolveDir: root,
      }));
      build.onLoad({filter: /^release$/, namespace: 'weft'}, () => ({
        contents: `export const release = ${JSON.stringify({version, id: idPlaceholder})};`,
      }));
    },
  };
}

function pluginTable(): string {
  const folders = listPlugins();
  return [
    ...folders.map(({folder}, i) => `import {plugin as plugin${i}} from './plugins/${folder}/plugin.ts';`),
    'export const plugins = new Map([',
    ...folders.flatMap(({names}, i) => names.map((name) => `  [${JSON.stringify(name)}, plugin${i}],`)),
    ']);',
  ].join('\n');
}

/**
 * A snapshot cannot hold a native addon, and both packages load theirs as soon as they are
 * evaluated, from a path beside them. So they get an object that loads it on first use, out of the
 * executable itself: see cli/addon.ts.
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

/** Packages that nearly no call needs, and what of each is used. */
const seldom: Readonly<Record<string, readonly string[]>> = {pino: ['pino'], 'dbus-native': ['createClient']};

/**
 * pino alone takes 2 ms of every start-up even out of the snapshot, and few calls log or find a bus: so these are evaluated
 * when what is used of them is first asked for.
 */
const lazyPackages: esbuild.Plugin = {
  name: 'lazy-packages',
  setup(build) {
    build.onResolve({filter: /^(pino|dbus-native)$/}, ({path, namespace}) =>
      namespace === 'lazy' ? undefined : {path, namespace: 'lazy'},
    );
    build.onLoad({filter: /./, namespace: 'lazy'}, ({path}) => ({
      contents: (seldom[path] ?? [])
        .map((name) => {
          const get = `() => require(${JSON.stringify(path)}).${name}`;
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

const HOT = new RegExp(process.env['HOT'] ?? '.'),
  COLD = new RegExp(process.env['COLD'] ?? '^$');
const hot: esbuild.Plugin = {
  name: 'hot',
  setup(build) {
    build.onLoad({filter: /\/(lib|plugins|cli)\/.*\.ts$/}, async ({path}) => {
      const {readFileSync} = await import('node:fs');
      let s = readFileSync(path, 'utf8');
      const rel = path.slice(root.length + 1);
      const names =
        HOT.test(rel) && !COLD.test(rel)
          ? [...s.matchAll(/^(?:export )?(?:async )?(?:abstract )?(?:function\*?|class|const) (\w+)/gm)].map(
              (m) => m[1],
            )
          : [];
      if (names.length) s += '\n;(globalThis as any).__hot?.(' + [...new Set(names)].join(', ') + ');';
      return {contents: s, loader: 'ts'};
    });
  },
};
