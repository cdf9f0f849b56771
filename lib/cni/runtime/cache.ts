import {readdirSync, readFileSync, renameSync, rmSync, writeFileSync} from 'node:fs';
import {join} from 'node:path';
import {ensureDirectory} from '../../files.ts';
import type {Attachment, Json, JsonObject} from '../types.ts';
import {resultJson} from '../result-format.ts';
import {parseOutput} from '../result.ts';
import type {Output} from '../result.ts';
import {findKey} from '../shape.ts';
import {sortKeys} from '../json.ts';

// The runtimes' own cache, shared with them file by file:
//   <folder>/results/<network>-<containerID>-<ifname>   mode 0600, folder 0700, one JSON object

/** Where every runtime built on libcni keeps it. */
export const defaultCacheFolder = '/var/lib/cni';

const kind = 'cniCacheV1';

/** What an attachment was made with: enough to make it go away without its runtime. */
export interface CachedAttachment extends Attachment {
  readonly network: string;
  readonly netns: string;
  readonly args: readonly (readonly [string, string])[];
  readonly capabilityArgs: JsonObject;
}

/** Keeps what an ADD gave, and what it was asked. */
export function putCached(
  folder: string,
  attachment: CachedAttachment,
  {config, output}: {readonly config: string; readonly output: Output},
): void {
  const {containerId, ifName, network, netns, args, capabilityArgs} = attachment;
  const text = JSON.stringify({
    kind,
    containerId,
    config: Buffer.from(config).toString('base64'),
    ifName,
    networkName: network,
    ...(netns !== '' && {netns}),
    ...(args.length > 0 && {cniArgs: args}),
    ...(Object.keys(capabilityArgs).length > 0 && {capabilityArgs: sortKeys(capabilityArgs)}),
    result: sortKeys(resultJson(output.result, output.version)),
  });
  const file = cacheFile(folder, attachment);
  ensureDirectory(join(folder, 'results'), 0o700);
  // Beside the folder, not in it: a runtime takes every file there for an attachment.
  const draft = join(folder, `.weft-draft-${process.pid}-${containerId}-${ifName}`);
  writeFileSync(draft, text, {mode: 0o600});
  renameSync(draft, file);
}

/**
 * The result of an ADD, for a configuration of `version`; `undefined` if there is none. Throws for a
 * file that cannot be read as one.
 */
export function findCachedResult(folder: string, attachment: CacheKey, version: string): Output | undefined {
  const text = readIfThere(cacheFile(folder, attachment));
  if (text === undefined) return undefined;
  const json = JSON.parse(text) as JsonObject;
  // Before the cache had a format of its own the file was the result.
  const result = json['kind'] === kind ? json['result'] : json;
  return {result: parseOutput(JSON.stringify(result ?? {}), version).result, version};
}

/** Forgets an attachment; it may be forgotten already. */
export function removeCached(folder: string, attachment: CacheKey): void {
  rmSync(cacheFile(folder, attachment), {force: true});
}

/** Every attachment of a network that an ADD was seen of and no DEL. */
export function listCached(folder: string, network: string): readonly CachedAttachment[] {
  let names: string[];
  try {
    names = readdirSync(join(folder, 'results')).sort();
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return [];
    throw error;
  }
  return names.flatMap((name) => {
    const cached = parseCached(readIfThere(join(folder, 'results', name)) ?? '');
    return cached && cached.network === network ? [cached] : [];
  });
}

function parseCached(text: string): CachedAttachment | undefined {
  let json: Json;
  try {
    json = JSON.parse(text) as Json;
  } catch {
    return undefined;
  }
  if (json === null || typeof json !== 'object' || Array.isArray(json)) return undefined;
  const read = (key: string) => findKey(json as JsonObject, key);
  const [containerId, ifName, network, netns] = ['containerId', 'ifName', 'networkName', 'netns'].map(
    (key) => {
      const value = read(key);
      return typeof value === 'string' ? value : '';
    },
  );
  if (read('kind') !== kind || !containerId || !ifName || !network) return undefined;
  return {
    containerId,
    ifName,
    network,
    netns: netns ?? '',
    args: (read('cniArgs') ?? []) as unknown as CachedAttachment['args'],
    capabilityArgs: (read('capabilityArgs') ?? {}) as JsonObject,
  };
}

/** An attachment with what its ADD was asked, and what it gave. */
export interface CachedAdd {
  readonly attachment: CachedAttachment;
  /** The text of the configuration: a list, or of a single plugin. */
  readonly config: string;
  readonly result: JsonObject;
}

/** Reads the text of one file; `undefined` where it is no attachment, or of the time when the cache was the result alone. */
export function parseCachedAdd(text: string): CachedAdd | undefined {
  const attachment = parseCached(text);
  if (!attachment) return undefined;
  const {config, result} = JSON.parse(text) as JsonObject;
  if (typeof config !== 'string' || typeof result !== 'object' || result === null) return undefined;
  return {
    attachment,
    config: Buffer.from(config, 'base64').toString(),
    result: result as unknown as JsonObject,
  };
}

type CacheKey = Pick<CachedAttachment, 'network' | 'containerId' | 'ifName'>;

function cacheFile(folder: string, {network, containerId, ifName}: CacheKey): string {
  return join(folder, 'results', `${network}-${containerId}-${ifName}`);
}

function readIfThere(file: string): string | undefined {
  try {
    return readFileSync(file, 'utf8');
  } catch {
    return undefined;
  }
}
