import {linkSync, readdirSync, readFileSync, renameSync, rmdirSync, statSync, writeFileSync} from 'node:fs';
import {join} from 'node:path';
import {CniError, errorCodes} from '../../lib/cni/error.ts';
import {sortKeys} from '../../lib/cni/json.ts';
import {networkKey} from '../../lib/cni/owner.ts';
import type {Owner} from '../../lib/cni/owner.ts';
import {findKey} from '../../lib/cni/shape.ts';
import type {Attachment, Json, JsonObject} from '../../lib/cni/types.ts';
import {errnoOf, errnoText} from '../../lib/errno.ts';
import {ensureDirectory, isGone, removeIfThere} from '../../lib/files.ts';
import {randomBytes} from '../../lib/netns/native.ts';

/*
 * The delegate's configuration of each attachment, for its DEL and CHECK: the subnet may be another one by then.
 *
 *   <dataDir>/<container>                               flannel's file, which its plugin reads and writes: of one interface of the
 *                                                       container, since the name has no place for more
 *   <dataDir>/.weft/<network's key>/<container>:<if>    ours, of every interface, by network. The first interface's is also
 *                                                       flannel's file (a hard link), so that a file of flannel's own is told apart.
 */

interface Place {
  readonly flannels: string;
  readonly directory: string;
  readonly own: string;
}

/** What was written down of an attachment; `text` is the file's. */
export interface Scratch {
  readonly conf: JsonObject;
  readonly text: string;
}

function directoryOf(dataDir: string, network: string): string {
  return join(dataDir, '.weft', networkKey(network));
}

function placeOf(dataDir: string, {network, containerId, ifName}: Owner): Place {
  const directory = directoryOf(dataDir, network);
  return {
    flannels: join(dataDir, containerId),
    directory,
    own: join(directory, `${containerId}:${ifName}`),
  };
}

/** The text of the file, as Go prints a map. */
export function formatScratch(conf: JsonObject): string {
  return JSON.stringify(sortKeys(conf)).replaceAll(
    /[<>&\u2028\u2029]/g,
    (char) => `\\u${char.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );
}

/** What was written down of an attachment, by us or by flannel; `undefined` if nothing was, or not legibly. */
export function findScratch(dataDir: string, owner: Owner): Scratch | undefined {
  const {flannels, own} = placeOf(dataDir, owner);
  const ours = readScratch(own);
  if (ours) return ours;
  // One with a second name is another interface's.
  if ((statOf(flannels)?.nlink ?? 2) > 1) return undefined;
  const theirs = readScratch(flannels);
  return theirs && findKey(theirs.conf, 'name') === owner.network ? theirs : undefined;
}

function readScratch(path: string): Scratch | undefined {
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch (error) {
    if (isGone(error)) return undefined;
    throw failed('read', path, error);
  }
  try {
    const conf = JSON.parse(text) as Json;
    return typeof conf === 'object' && conf !== null && !Array.isArray(conf)
      ? {conf: conf as JsonObject, text}
      : undefined;
  } catch {
    // flannel's may be cut off: it writes in place.
    return undefined;
  }
}

/** Writes a delegate's configuration down, in the place of what is there. Appears whole or not at all. */
export function writeScratch(dataDir: string, owner: Owner, text: string): void {
  const {flannels, directory, own} = placeOf(dataDir, owner);
  try {
    const before = statOf(own);
    const theirs = statOf(flannels);
    ensureDirectory(directory, 0o700);
    const unfinished = join(directory, `.${randomBytes(16).toString('hex')}`);
    writeFileSync(unfinished, text, {mode: 0o600, flag: 'wx'});
    renameSync(unfinished, own);
    if (theirs && theirs.nlink > 1 && theirs.ino !== before?.ino) return;
    linkOrCopy(own, unfinished, text);
    renameSync(unfinished, flannels);
  } catch (error) {
    throw failed('write', own, error);
  }
}

/** Under another name first: a link never takes the place of a file, a rename does. */
function linkOrCopy(from: string, to: string, text: string): void {
  try {
    linkSync(from, to);
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code ?? '';
    if (!['EPERM', 'ENOSYS', 'ENOTSUP', 'EOPNOTSUPP'].includes(code)) throw error;
    writeFileSync(to, text, {mode: 0o600, flag: 'wx'});
  }
}

/** Forgets an attachment; what is not there is forgotten already. */
export function removeScratch(dataDir: string, owner: Owner): void {
  const {flannels, own} = placeOf(dataDir, owner);
  const [theirs, ours] = [statOf(flannels), statOf(own)];
  const isSame = theirs !== undefined && theirs.ino === ours?.ino && theirs.dev === ours.dev;
  if (isSame || (theirs?.nlink === 1 && isOfNetwork(flannels, owner.network))) remove(flannels);
  remove(own);
}

function isOfNetwork(path: string, network: string): boolean {
  const scratch = readScratch(path);
  return scratch !== undefined && findKey(scratch.conf, 'name') === network;
}

/** Forgets this network's attachments that are none of `keep`, flannel's files included; gives their names. */
export function removeStaleScratches(
  dataDir: string,
  network: string,
  keep: readonly Attachment[],
): readonly string[] {
  const directory = directoryOf(dataDir, network);
  const kept = new Set(keep.map(({containerId, ifName}) => `${containerId}:${ifName}`));
  const stale = listDirectory(directory).filter((name) => !kept.has(name));
  for (const name of stale) {
    const [containerId = '', ifName = ''] = name.split(':');
    if (name.startsWith('.')) remove(join(directory, name));
    else removeScratch(dataDir, {network, containerId, ifName});
  }
  const containers = new Set(keep.map(({containerId}) => containerId));
  const theirs = listDirectory(dataDir).filter((name) => {
    if (name.startsWith('.') || containers.has(name)) return false;
    return statOf(join(dataDir, name))?.nlink === 1 && isOfNetwork(join(dataDir, name), network);
  });
  for (const name of theirs) remove(join(dataDir, name));
  removeEmpty(directory);
  return [...stale, ...theirs];
}

function listDirectory(path: string): readonly string[] {
  try {
    return readdirSync(path);
  } catch (error) {
    if (isGone(error)) return [];
    throw failed('read', path, error);
  }
}

function statOf(path: string) {
  try {
    return statSync(path, {throwIfNoEntry: false});
  } catch (error) {
    if (isGone(error)) return undefined;
    throw failed('read', path, error);
  }
}

function remove(path: string): void {
  try {
    removeIfThere(path);
  } catch (error) {
    throw failed('remove', path, error);
  }
}

/** Only while no ADD can be about to use it. */
function removeEmpty(path: string): void {
  try {
    rmdirSync(path);
  } catch {}
}

/** It says all that its cause would. */
function failed(what: string, path: string, cause: unknown): CniError {
  return new CniError(
    errorCodes.ioFailure,
    `cannot ${what} ${path}: ${errnoText(errnoOf(cause) ?? 0)}`,
    'how a container was connected is kept there; set "dataDir" to a directory that can be written',
  );
}
