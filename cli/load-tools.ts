import {Script} from 'node:vm';
import type * as Tools from './tools.ts';

/**
 * Evaluates the second bundle, which is embedded in the executable with its compiled code. An executable without
 * compiled code is half built: all it does is to compile the bundle into the file that its first argument names.
 */
export function loadTools(): typeof Tools {
  const {getAsset, getAssetKeys, getRawAsset} = process.getBuiltinModule('node:sea');
  const source = `(function (exports, require, module) {${getAsset('tools.cjs', 'utf8')}\n})`;
  const isBuilt = getAssetKeys().includes('tools.cache');
  const script = new Script(source, {
    filename: 'weft-tools.cjs',
    ...(isBuilt && {cachedData: new Uint8Array(getRawAsset('tools.cache'))}),
  });
  const module = {exports: {} as typeof Tools};
  script.runInThisContext()(module.exports, require, module);
  if (!isBuilt) {
    const output = process.argv[2];
    if (output === undefined) throw new Error('this executable is half built: run `npm run build`');
    process.getBuiltinModule('node:fs').writeFileSync(output, script.createCachedData());
    process.exit(0);
  }
  return module.exports;
}
