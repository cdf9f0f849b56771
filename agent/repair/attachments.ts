import {readdirSync, readFileSync, statSync} from 'node:fs';
import {join} from 'node:path';
import {ownerKey} from '../../lib/cni/owner.ts';
import type {Owner} from '../../lib/cni/owner.ts';
import {parseCachedAdd} from '../../lib/cni/runtime/cache.ts';
import {planChecks} from '../../lib/cni/runtime/chain.ts';
import type {PluginInput} from '../../lib/cni/runtime/chain.ts';
import {parseAnyNetwork} from '../../lib/cni/runtime/network.ts';
import {parseOutput} from '../../lib/cni/result.ts';
import {parseMac} from '../../lib/ip/mac.ts';

/** An attachment, and what CHECK tells each plugin of its chain. */
export interface Attached {
  readonly owner: Owner;
  /** `ownerKey` of it: what the host's end has in its alias. */
  readonly key: string;
  readonly netns: string;
  /** The interfaces of the host that its result names; none in the oldest versions. */
  readonly ends: readonly {readonly name: string; readonly mac?: string | undefined}[];
  readonly plugins: readonly PluginInput[];
}

interface Read {
  readonly stamp: string;
  readonly attached: Attached | undefined;
}

/**
 * What runtimes noted of their attachments: libcni writes a file after the last plugin's ADD and removes it after the last
 * DEL. Each file is read once, unless it changes.
 */
export class Attachments {
  readonly #folder: string;
  readonly #onUnreadable: (file: string, error: unknown) => void;
  #read = new Map<string, Read>();

  constructor(cacheDir: string, onUnreadable: (file: string, error: unknown) => void) {
    this.#folder = join(cacheDir, 'results');
    this.#onUnreadable = onUnreadable;
  }

  /** All that are noted now. */
  list(): readonly Attached[] {
    const before = this.#read;
    this.#read = new Map();
    for (const name of this.#names()) {
      const file = join(this.#folder, name);
      const stamp = stampOf(file);
      if (stamp === undefined) continue;
      const known = before.get(name);
      this.#read.set(name, known?.stamp === stamp ? known : {stamp, attached: this.#parse(file)});
    }
    return [...this.#read.values()].flatMap(({attached}) => attached ?? []);
  }

  #names(): string[] {
    try {
      return readdirSync(this.#folder);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return [];
      throw error;
    }
  }

  #parse(file: string): Attached | undefined {
    try {
      return parseAttached(readFileSync(file, 'utf8'));
    } catch (error) {
      this.#onUnreadable(file, error);
      return undefined;
    }
  }
}

/** `undefined` for what is no attachment's file. Throws for a configuration or a result that makes no sense. */
export function parseAttached(text: string): Attached | undefined {
  const cached = parseCachedAdd(text);
  if (!cached) return undefined;
  const {attachment, config, result} = cached;
  const network = parseAnyNetwork(config);
  const {containerId, ifName, netns} = attachment;
  const owner = {network: attachment.network, containerId, ifName};
  const output = parseOutput(JSON.stringify(result), network.cniVersion);
  const ends = output.result.interfaces
    .filter(({sandbox}) => !sandbox)
    .map(({name, mac}) => ({name, mac: mac === undefined ? undefined : parseMac(mac)}));
  return {owner, key: ownerKey(owner), netns, ends, plugins: planChecks(network, attachment, output)};
}

/** Whether an interface is the very one that the result names: one of an earlier or later ADD has another address. */
export function isEndOf({ends}: Attached, link: {readonly name: string; readonly mac: string}): boolean {
  return (
    ends.length === 0 ||
    ends.some(({name, mac}) => name === link.name && (mac === undefined || mac === link.mac))
  );
}

function stampOf(file: string): string | undefined {
  try {
    const {ino, mtimeNs, size} = statSync(file, {bigint: true});
    return `${ino} ${mtimeNs} ${size}`;
  } catch {
    // Removed since it was listed.
    return undefined;
  }
}
