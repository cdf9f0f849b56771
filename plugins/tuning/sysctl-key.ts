import {posix} from 'node:path';
import {CniError, errorCodes} from '../../lib/cni/error.ts';

/**
 * The path below /proc/sys of a key of `sysctl`, as the reference derives it: every dot is a slash, and then the first
 * `IFNAME` the interface, whose name may hold dots itself. Throws CniError 7 for what is not below `net/`.
 */
export function sysctlPath(key: string, ifName: string): string {
  const name = key.replaceAll('.', '/').replace('IFNAME', () => ifName);
  const path = posix.join('/proc/sys', name);
  if (path.startsWith('/proc/sys/net/')) return path.slice('/proc/sys/'.length);
  throw new CniError(
    errorCodes.invalidConfig,
    `invalid net sysctl key: ${JSON.stringify(name)}`,
    `"${key}" in sysctl: only keys below "net." belong to a container's network`,
  );
}

/**
 * The first key that is twice in the `sysctl` objects of a configuration, whatever the spelling of "sysctl" is.
 * JSON.parse keeps the last of them without a word, so this reads the text; it has to be valid JSON.
 */
export function findDuplicateKey(text: string): string | undefined {
  const seen = new Set<string>();
  // The keys that lead to where the reading stands; `undefined` for a list and the document itself.
  const path: (string | undefined)[] = [];
  const tokens = /"(?:[^"\\]|\\.)*"(\s*:)?|[{}[\]]/g;
  let key: string | undefined;
  for (const [token, colon] of text.matchAll(tokens)) {
    if (token === '{' || token === '[') {
      path.push(key);
      key = undefined;
    } else if (token === '}' || token === ']') {
      path.pop();
    } else if (colon !== undefined) {
      key = JSON.parse(token.slice(0, -colon.length)) as string;
      if (path.length !== 2 || path[1]?.toLowerCase() !== 'sysctl') continue;
      if (seen.has(key)) return key;
      seen.add(key);
    } else {
      key = undefined;
    }
  }
  return undefined;
}
