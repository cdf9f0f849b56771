import {accessSync, constants} from 'node:fs';
import {dirname} from 'node:path';
import {errnoCode, errnoOf, errnoText} from './errno.ts';

/**
 * Whether files could be made in a directory, or it could be made itself. Throws "cannot write to /p: permission denied" for
 * the one that is in the way.
 */
export function checkWritable(directory: string): void {
  for (let at = directory; ; at = dirname(at)) {
    try {
      return accessSync(at, constants.W_OK | constants.X_OK);
    } catch (cause) {
      const errno = errnoOf(cause) ?? 0;
      if (errnoCode(errno) === 'ENOENT' && at !== dirname(at)) continue;
      throw new Error(`cannot write to ${at}: ${errnoText(errno)}`);
    }
  }
}
