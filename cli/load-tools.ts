import {dirname} from 'node:path';
import {Script} from 'node:vm';
import type * as Tools from './tools.ts';

/** What stands before the compiled code in its asset: see build/code-cache.ts. */
const markerSize = 32;
const headerSize = markerSize + 8;

/**
 * Evaluates the second bundle, which is embedded in the executable with its compiled code. An executable without
 * compiled code is half built: all it does is to compile the bundle into the file that its first argument names.
 */
export function loadTools(): typeof Tools {
  const {getAsset, getRawAsset} = process.getBuiltinModule('node:sea');
  const compiled = Buffer.from(getRawAsset('tools.cache'));
  const size = compiled.readUInt32LE(markerSize);
  const source = getAsset('tools.cjs', 'utf8');
  const script = new Script(`(function (exports, require, module, __filename, __dirname) {${source}\n})`, {
    filename: 'weft-tools.cjs',
    ...(size > 0 && {cachedData: compiled.subarray(headerSize, headerSize + size)}),
  });
  const module = {exports: {} as typeof Tools};
  script.runInThisContext()(module.exports, require, module, process.execPath, dirname(process.execPath));
  if (size === 0) finishBuild(script);
  return module.exports;
}

function finishBuild(script: Script): never {
  const output = process.argv[2];
  if (output === undefined) throw new Error('this executable is half built: run `npm run build`');
  process.getBuiltinModule('node:fs').writeFileSync(output, script.createCachedData());
  process.exit(0);
}
