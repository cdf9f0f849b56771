import {readFileSync, statSync} from 'node:fs';
import {CniError, errorCodes} from '../../../lib/cni/error.ts';
import type {JsonObject} from '../../../lib/cni/types.ts';
import {errnoOf, errnoText} from '../../../lib/errno.ts';
import {parseStaticNetwork, readStaticNetwork} from '../../../lib/overlay/static-file.ts';
import type {StaticNetwork} from '../../../lib/overlay/static-file.ts';
import {sha512} from '../../../lib/netns/native.ts';
import type {VxlanConf} from '../conf.ts';

/** Where `static` says the hosts are: in the configuration, or in a file. */
export interface StaticSource {
  /** Another one when what is written down may be another. Costs the same however many hosts there are, for a file. */
  readonly key: string;
  /** Throws CniError 7 with what is wrong. */
  read(): StaticNetwork;
}

/** Throws CniError 7 for a file that cannot be read. */
export function openStaticSource(conf: VxlanConf & {readonly static: JsonObject | string}): StaticSource {
  const {network: name, static: members} = conf;
  if (typeof members !== 'string') {
    return {
      key: sha512(JSON.stringify(members)).toString('base64'),
      read: () => asConfError(() => readStaticNetwork(members, {name, source: '"static"'})),
    };
  }
  return {
    key: fileKey(members),
    read: () => asConfError(() => parseStaticNetwork(readText(members), {name, source: members})),
  };
}

function fileKey(path: string): string {
  try {
    const {dev, ino, size, mtimeNs, ctimeNs} = statSync(path, {bigint: true});
    return [path, dev, ino, size, mtimeNs, ctimeNs].join(' ');
  } catch (error) {
    throw unreadable(path, error);
  }
}

function readText(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    throw unreadable(path, error);
  }
}

function unreadable(path: string, error: unknown): CniError {
  return new CniError(
    errorCodes.invalidConfig,
    `open ${path}: ${errnoText(errnoOf(error) ?? 0)}`,
    'the key "static" of the configuration names this file; docs/membership.md says what is in it',
  );
}

function asConfError<T>(read: () => T): T {
  try {
    return read();
  } catch (error) {
    if (error instanceof CniError) throw error;
    throw new CniError(
      errorCodes.invalidConfig,
      (error as Error).message,
      'docs/membership.md says what is in it',
    );
  }
}
