import {linkSync, readdirSync, readFileSync, renameSync, rmdirSync, statSync, writeFileSync} from 'node:fs';
import {join} from 'node:path';
import * as z from 'zod/mini';
import {compact} from '../../lib/cni/compact.ts';
import {CniError, errorCodes} from '../../lib/cni/error.ts';
import {networkKey} from '../../lib/cni/owner.ts';
import type {Owner} from '../../lib/cni/owner.ts';
import {prepareShape, readShape} from '../../lib/cni/shape.ts';
import type {Attachment, Json} from '../../lib/cni/types.ts';
import {errnoOf, errnoText} from '../../lib/errno.ts';
import {ensureDirectory, isGone, removeIfThere} from '../../lib/files.ts';
import {randomBytes} from '../../lib/netns/native.ts';
import type {Attributes} from './attributes.ts';

// What a link was like before: <dataDir>/<container>_<interface>.json, which the reference plugin reads and writes too.
// That name does not say which network it is of, which GC has to know: so each file has a second name (a hard link) in
// <dataDir>/.weft/<key of the network>/. Only there are files made, so that what a kill leaves is in nobody's way.

const number = z.optional(z.int());
const flag = z.optional(z.boolean());
const shape = prepareShape(
  z.object({mac: z.optional(z.string()), promisc: flag, mtu: number, allmulti: flag, txQLen: number}),
);

interface Place {
  readonly file: string;
  readonly directory: string;
  readonly secondName: string;
}

function placeOf(dataDir: string, {network, ...attachment}: Owner): Place {
  const name = nameOf(attachment);
  const directory = directoryOf(dataDir, network);
  return {file: join(dataDir, name), directory, secondName: join(directory, name)};
}

function nameOf({containerId, ifName}: Attachment): string {
  return `${containerId}_${ifName}.json`;
}

function directoryOf(dataDir: string, network: string): string {
  return join(dataDir, '.weft', networkKey(network));
}

/** The text of the file: byte for byte the reference's. */
export function formatState({mac, promisc, mtu, allmulti, txQLen}: Attributes): string {
  return JSON.stringify({mac, promisc, mtu, allmulti, txQLen}, undefined, 1);
}

/** `undefined` for what is no such file. */
export function parseState(text: string): Attributes | undefined {
  try {
    const {mac, mtu, ...rest} = readShape(shape, JSON.parse(text) as Json);
    return compact({...rest, mac: mac || undefined, mtu: mtu || undefined});
  } catch {
    return undefined;
  }
}

/** What the link of an attachment was like; `undefined` if nobody wrote it down, or not legibly. */
export function readState(dataDir: string, owner: Owner): Attributes | undefined {
  const {file} = placeOf(dataDir, owner);
  try {
    return parseState(readFileSync(file, 'utf8'));
  } catch (error) {
    if (isGone(error)) return undefined;
    throw failed('read', file, error);
  }
}

/** Writes down what a link is like, in the place of what is there. Appears whole or not at all. */
export function writeState(dataDir: string, owner: Owner, attributes: Attributes): void {
  const {file, directory, secondName} = placeOf(dataDir, owner);
  try {
    ensureDirectory(directory, 0o700);
    const unfinished = join(directory, `.${randomBytes(16).toString('hex')}`);
    writeFileSync(unfinished, formatState(attributes), {mode: 0o600, flag: 'wx'});
    renameSync(unfinished, secondName);
    giveFirstName(secondName, unfinished);
    renameSync(unfinished, file);
  } catch (error) {
    throw failed('write', file, error);
  }
}

/** Under another name first: a link never takes the place of a file, a rename does. */
function giveFirstName(secondName: string, other: string): void {
  try {
    linkSync(secondName, other);
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code ?? '';
    if (!['EPERM', 'ENOSYS', 'ENOTSUP', 'EOPNOTSUPP'].includes(code)) throw error;
    // A file system without hard links: then GC does not find it.
    renameSync(secondName, other);
  }
}

/** Removes what was written down of an attachment; what is not there is removed already. */
export function removeState(dataDir: string, owner: Owner): void {
  const {file, secondName} = placeOf(dataDir, owner);
  remove(file);
  remove(secondName);
}

function remove(path: string): void {
  try {
    removeIfThere(path);
  } catch (error) {
    throw failed('remove', path, error);
  }
}

/**
 * Removes what was written down of this network's attachments that are none of `keep`; gives their files. What the
 * reference wrote stays: it does not say of which network it is.
 */
export function removeStaleStates(
  dataDir: string,
  network: string,
  keep: readonly Attachment[],
): readonly string[] {
  const directory = directoryOf(dataDir, network);
  const kept = new Set(keep.map(nameOf));
  const stale = listDirectory(directory).filter((name) => !kept.has(name));
  for (const name of stale) {
    const [file, secondName] = [join(dataDir, name), join(directory, name)];
    // The same attachment may be one of another network by now.
    if (sameFile(file, secondName)) remove(file);
    remove(secondName);
  }
  removeEmpty(directory);
  return stale;
}

function listDirectory(path: string): readonly string[] {
  try {
    return readdirSync(path);
  } catch (error) {
    if (isGone(error)) return [];
    throw failed('read', path, error);
  }
}

function sameFile(a: string, b: string): boolean {
  try {
    const [one, other] = [statSync(a), statSync(b)];
    return one.dev === other.dev && one.ino === other.ino;
  } catch {
    return false;
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
  const text = errnoText(errnoOf(cause) ?? 0);
  return new CniError(
    errorCodes.ioFailure,
    `cannot ${what} ${path}: ${text}`,
    'what an interface was like is kept there; set "dataDir" to a directory that can be written',
  );
}
