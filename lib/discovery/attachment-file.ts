import {readdirSync, readFileSync, renameSync, unlinkSync, writeFileSync} from 'node:fs';
import {basename, join} from 'node:path';
import * as z from 'zod/mini';
import type {Owner} from '../cni/owner.ts';
import {prepareShape, readShape} from '../cni/shape.ts';
import type {Attachment, Json} from '../cni/types.ts';
import {errnoOf} from '../errno.ts';
import {ensureDirectory} from '../files.ts';

// What the plugin `discovery` says of the containers that have names: <dir>/<network>/<containerID>:<ifname>.json, a file for each
// attachment, so that nobody writes where another does. The agent serves them; they vanish with a reboot.

export const defaultDiscoveryDir = '/run/weft/discovery';

const texts = z._default(z.array(z.string()), []);

/** One attachment and its names. Releases add keys and never change the meaning of one. */
const shape = prepareShape(
  z.object({
    network: z.string(),
    containerId: z.string(),
    ifName: z.string(),
    /** Lower case; the first is its canonical name. */
    names: z.array(z.string()),
    /** The zone of the network's names. */
    domain: z.string(),
    ips: z.array(z.string()),
    /** The host's addresses in the network, where its server answers. */
    listen: texts,
    /** The host's interface in the network. */
    bridge: z.optional(z.string()),
    internal: z._default(z.boolean(), false),
    intercept: z._default(z.boolean(), false),
    /** Servers for other names, in place of the host's. */
    upstreams: texts,
    ports: z._default(
      z.array(
        z.object({name: z.optional(z.string()), protocol: z.enum(['tcp', 'udp', 'sctp']), port: z.int()}),
      ),
      [],
    ),
    texts,
    /** Seconds that its records may be kept. */
    ttl: z._default(z.int(), 0),
  }),
);

export type DiscoveredAttachment = Readonly<z.infer<typeof shape>>;

const suffix = '.json';

/** What no file name may hold is written as %XX; a network's name may hold anything. */
const escape = (text: string) =>
  encodeURIComponent(text).replaceAll(/^\.+/g, (dots) => '%2E'.repeat(dots.length));

export function discoveryDirectory(dir: string, network: string): string {
  return join(dir, escape(network));
}

function fileName({containerId, ifName}: Attachment): string {
  return `${escape(containerId)}:${escape(ifName)}${suffix}`;
}

/** Writes an attachment's names in place of what is there; they appear whole. Gives the file's path. */
export function writeDiscovered(dir: string, attachment: DiscoveredAttachment): string {
  const directory = discoveryDirectory(dir, attachment.network);
  ensureDirectory(directory, 0o755);
  const name = fileName(attachment);
  const unfinished = join(directory, `.${name}`);
  writeFileSync(unfinished, `${JSON.stringify(attachment)}\n`, {mode: 0o644});
  renameSync(unfinished, join(directory, name));
  return join(directory, name);
}

/** Removes an attachment's names; tells whether they were there. */
export function removeDiscovered(dir: string, owner: Owner): boolean {
  return unlink(join(discoveryDirectory(dir, owner.network), fileName(owner)));
}

/** An attachment's names; undefined where there are none, or nothing that can be read. */
export function findDiscovered(dir: string, owner: Owner): DiscoveredAttachment | undefined {
  return readDiscovered(join(discoveryDirectory(dir, owner.network), fileName(owner)));
}

/** The attachment that a file tells of; undefined for a file that is gone, or none of these. */
export function readDiscovered(path: string): DiscoveredAttachment | undefined {
  try {
    const found: DiscoveredAttachment = readShape(shape, JSON.parse(readFileSync(path, 'utf8')) as Json);
    // A copy under another name speaks of somebody else.
    return basename(path) === fileName(found) ? found : undefined;
  } catch {
    return undefined;
  }
}

/** The files of a network, by path. */
export function listDiscovered(directory: string): readonly string[] {
  return listNames(directory).flatMap((name) =>
    name.startsWith('.') || !name.endsWith(suffix) ? [] : [join(directory, name)],
  );
}

/** The networks' directories below `dir`, by path. */
export function listDiscoveryDirectories(dir: string): readonly string[] {
  return listNames(dir).map((name) => join(dir, name));
}

/** Removes the names of a network's attachments that are none of `keep`, and what a kill left; gives their paths. */
export function removeStaleDiscovered(
  dir: string,
  network: string,
  keep: readonly Attachment[],
): readonly string[] {
  const directory = discoveryDirectory(dir, network);
  const kept = new Set(keep.map(fileName));
  const stale = listNames(directory).filter((name) => !kept.has(name));
  return stale.map((name) => join(directory, name)).filter(unlink);
}

function listNames(directory: string): readonly string[] {
  try {
    return readdirSync(directory);
  } catch (error) {
    if (isAbsent(error)) return [];
    throw error;
  }
}

function unlink(path: string): boolean {
  try {
    unlinkSync(path);
    return true;
  } catch (error) {
    if (isAbsent(error)) return false;
    throw error;
  }
}

function isAbsent(error: unknown): boolean {
  return [enoent, enotdir].includes(errnoOf(error) ?? 0);
}

const enoent = 2;
const enotdir = 20;
