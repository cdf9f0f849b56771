import {readFileSync} from 'node:fs';
import {CniError, errorCodes} from '../../lib/cni/error.ts';
import {errnoOf, errnoText} from '../../lib/errno.ts';

/** Where the administrator says which sysctls containers may have: a regular expression in each line. */
export const allowListPath = '/etc/cni/tuning/allowlist.conf';

/**
 * Throws when there is a list and one of these keys matches none of its lines. Keys are compared as the configuration
 * writes them. A list that cannot be read or understood allows nothing.
 */
export function checkAllowed(keys: readonly string[], list = readAllowList()): void {
  if (!list) return;
  const allowed = list.map(parseLine);
  for (const key of keys) {
    if (allowed.some((expression) => expression.test(key))) continue;
    throw new CniError(
      errorCodes.invalidConfig,
      `Sysctl ${key} is not allowed. Only the following sysctls are allowed: [${list.join(' ')}]`,
      `${allowListPath} on this host decides`,
    );
  }
}

/** Its lines without empty ones; `undefined` when there is no list. */
function readAllowList(): readonly string[] | undefined {
  let text: string;
  try {
    text = readFileSync(allowListPath, 'utf8');
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw new Error(`open ${allowListPath}: ${errnoText(errnoOf(cause) ?? 0)}`, {cause});
  }
  return text
    .split('\n')
    .map((line) => line.trim())
    .filter((line) => line !== '');
}

/**
 * The lines are in Go's syntax. What both languages read alike is taken, and of the rest the flags in front; with the flag
 * "u" everything that they might read differently (POSIX classes, \A, \pL) is an error and not a surprise.
 */
function parseLine(line: string): RegExp {
  const [, flags = '', expression = ''] = /^(?:\(\?([ims]+)\))?(.*)$/s.exec(line)!;
  try {
    return new RegExp(expression, `${[...new Set(flags)].join('')}u`);
  } catch (cause) {
    throw new CniError(
      errorCodes.invalidConfig,
      `error parsing regexp: ${(cause as Error).message}`,
      `the line ${JSON.stringify(line)} of ${allowListPath}`,
    );
  }
}
