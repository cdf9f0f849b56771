import {dirname, join} from 'node:path';
import type {Script} from 'node:vm';
import type * as AgentBundle from '../agent/main.ts';
import type * as Tools from './tools.ts';

/** What stands before the compiled code in its asset: see build/code-cache.ts. */
const markerSize = 32;
const headerSize = markerSize + 8;

/**
 * Evaluates the bundle of the command line tools, which is embedded in the executable with its compiled code. An executable
 * without compiled code is half built: all it does is to compile its bundles into the folder that its first argument names;
 * `shared` is for those of plugins.
 */
export function loadTools(shared: object): typeof Tools {
  const {exports, isCompiled} = loadBundle('tools');
  if (!isCompiled) finishBuild(shared);
  return exports as typeof Tools;
}

/** Evaluates the bundle of the agent, as `loadTools` does. */
export function loadAgent(): typeof AgentBundle {
  return loadBundle('agent').exports as typeof AgentBundle;
}

/** Evaluates a package that few processes need, and gives what it exports. */
export function loadPackage(name: 'pino' | 'dbus-native'): unknown {
  return (packages[name] ??= loadBundle(name).exports);
}

const packages: Record<string, unknown> = {};

/** Evaluates a plugin that is not in the start-up snapshot, with the modules it shares with it. */
export function loadPlugin(folder: string, shared: object): unknown {
  return (loadBundle(`plugin-${folder}`, shared).exports as {readonly plugin: unknown}).plugin;
}

function loadBundle(
  name: string,
  shared?: object,
): {
  readonly exports: unknown;
  readonly script: Script;
  readonly isCompiled: boolean;
} {
  const {getAsset, getRawAsset} = process.getBuiltinModule('node:sea');
  const compiled = Buffer.from(getRawAsset(`${name}.cache`));
  const size = compiled.readUInt32LE(markerSize);
  const source = getAsset(`${name}.cjs`, 'utf8');
  // Importing this module while the snapshot is made has Node print a warning, which takes the network's modules with it.
  const vm = process.getBuiltinModule('node:vm');
  const script = new vm.Script(
    `(function (exports, require, module, __filename, __dirname, shared) {${source}\n})`,
    {
      filename: `weft-${name}.cjs`,
      ...(size > 0 && {cachedData: compiled.subarray(headerSize, headerSize + size)}),
    },
  );
  const module = {exports: {}};
  const place = [process.execPath, dirname(process.execPath)];
  script.runInThisContext()(module.exports, require, module, ...place, shared);
  return {exports: module.exports, script, isCompiled: size > 0};
}

function finishBuild(shared: object): never {
  const folder = process.argv[2];
  if (folder === undefined) throw new Error('this executable is half built: run `npm run build`');
  const files = process.getBuiltinModule('node:sea').getAssetKeys();
  for (const file of files.filter((each) => each.endsWith('.cache'))) {
    const {script} = loadBundle(file.slice(0, -'.cache'.length), shared);
    process.getBuiltinModule('node:fs').writeFileSync(join(folder, file), script.createCachedData());
  }
  process.exit(0);
}
