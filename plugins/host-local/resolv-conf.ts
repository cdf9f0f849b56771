import {readFileSync} from 'node:fs';
import {describeErrno} from '../../lib/store/error.ts';
import {CniError, errorCodes} from '../../lib/cni/error.ts';
import type {Dns} from '../../lib/cni/types.ts';

/**
 * The DNS settings in the text of a resolv.conf(5), read as the reference does: a line needs a keyword and a
 * value, comments begin with "#" or ";", a later domain wins, searches and options add up.
 */
export function parseResolvConf(text: string): Dns {
  const found = {nameservers: [] as string[], domain: '', search: [] as string[], options: [] as string[]};
  for (const line of text.split('\n')) {
    const [keyword = '', value, ...more] = line.trim().split(/\s+/);
    if (/^[#;]/.test(keyword) || value === undefined) continue;
    if (keyword === 'nameserver') found.nameservers.push(value);
    else if (keyword === 'domain') found.domain = value;
    else if (keyword === 'search') found.search.push(value, ...more);
    else if (keyword === 'options') found.options.push(value, ...more);
  }
  return {
    ...(found.nameservers.length > 0 && {nameservers: found.nameservers}),
    ...(found.domain !== '' && {domain: found.domain}),
    ...(found.search.length > 0 && {search: found.search}),
    ...(found.options.length > 0 && {options: found.options}),
  };
}

/** Reads the file that the key `resolvConf` names. Throws CniError 5. */
export function readResolvConf(path: string): Dns {
  try {
    return parseResolvConf(readFileSync(path, 'utf8'));
  } catch (error) {
    throw new CniError(
      errorCodes.ioFailure,
      `open ${path}: ${describeErrno(error)}`,
      'set ipam.resolvConf to a file that can be read, or leave it out',
    );
  }
}
