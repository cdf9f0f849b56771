import {statSync} from 'node:fs';
import {CniError, errorCodes} from './error.ts';

/**
 * The file that a plugin's `type` means: the first regular file of that name in CNI_PATH. Throws
 * the reference's sentences (codes 7 and 4).
 */
export function findInPath(type: string, path: readonly string[]): string {
  if (type === '') throw new CniError(errorCodes.invalidConfig, 'no plugin name provided');
  if (/[/\\]/.test(type)) throw new CniError(errorCodes.invalidConfig, `invalid plugin name: ${type}`);
  if (path.length === 0) throw new CniError(errorCodes.invalidEnvironment, 'no paths provided');
  for (const folder of path) {
    const file = `${folder.replace(/\/+$/, '')}/${type}`;
    if (statSync(file, {throwIfNoEntry: false})?.isFile()) return file;
  }
  throw new CniError(
    errorCodes.internal,
    `failed to find plugin ${JSON.stringify(type)} in path [${path.join(' ')}]`,
  );
}

/** CNI_PATH as a list. An empty element would mean the working folder: it is left out. */
export function splitPath(path: string): readonly string[] {
  return path.split(':').filter((folder) => folder !== '');
}
