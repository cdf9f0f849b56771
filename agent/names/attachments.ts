import {watch, type FSWatcher} from 'node:fs';
import {basename} from 'node:path';
import {
  type DiscoveredAttachment,
  listDiscovered,
  listDiscoveryDirectories,
  readDiscovered,
} from '../../lib/discovery/attachment-file.ts';
import {ensureDirectory} from '../../lib/files.ts';
import type {Logger} from '../../lib/log.ts';
import type {NamedContainer} from '../catalog/model.ts';

export interface AttachmentEvents {
  put(file: string, attachment: DiscoveredAttachment): void;
  remove(file: string, attachment: DiscoveredAttachment): void;
  /** After one or more of the above. */
  changed(): void;
}

/**
 * The attachments that the plugin's files tell of, followed. The files are the truth: what the kernel or the plugin tells is only
 * the reason to look, and a look at everything every so often finds what nobody told.
 */
export class AttachmentFiles {
  readonly #dir: string;
  readonly #events: AttachmentEvents;
  readonly #log: Logger;
  readonly #known = new Map<string, {readonly text: string; readonly attachment: DiscoveredAttachment}>();
  readonly #watchers = new Map<string, FSWatcher>();

  constructor(dir: string, {events, log}: {readonly events: AttachmentEvents; readonly log: Logger}) {
    this.#dir = dir;
    this.#events = events;
    this.#log = log;
    ensureDirectory(dir, 0o755);
  }

  get size(): number {
    return this.#known.size;
  }

  list(): readonly DiscoveredAttachment[] {
    return [...this.#known.values()].map(({attachment}) => attachment);
  }

  /** Looks at every file. */
  scan(): void {
    this.#watch(this.#dir);
    const directories = listDiscoveryDirectories(this.#dir);
    for (const directory of directories) this.#watch(directory);
    for (const [path, watcher] of this.#watchers) {
      if (path === this.#dir || directories.includes(path)) continue;
      watcher.close();
      this.#watchers.delete(path);
    }
    const there = new Set(directories.flatMap((directory) => listDiscovered(directory)));
    const gone = [...this.#known.keys()].filter((file) => !there.has(file));
    const changes = [...gone, ...there].filter((file) => this.#look(file));
    if (changes.length > 0) this.#events.changed();
  }

  /** Looks at one file, or at those of a network's directory. */
  look(path: string): void {
    if (!path.endsWith('.json')) return this.scan();
    if (this.#look(path)) this.#events.changed();
  }

  close(): void {
    for (const watcher of this.#watchers.values()) watcher.close();
    this.#watchers.clear();
  }

  /** Tells whether something changed. */
  #look(file: string): boolean {
    const before = this.#known.get(file);
    const attachment = readDiscovered(file);
    if (attachment === undefined) {
      if (before === undefined) return false;
      this.#known.delete(file);
      this.#events.remove(file, before.attachment);
      return true;
    }
    const text = JSON.stringify(attachment);
    if (before?.text === text) return false;
    if (before) this.#events.remove(file, before.attachment);
    this.#known.set(file, {text, attachment});
    this.#events.put(file, attachment);
    return true;
  }

  #watch(path: string): void {
    if (this.#watchers.has(path)) return;
    try {
      const watcher = watch(path, {persistent: false}, (_, name) => {
        // Names that begin with a dot are files still being written.
        if (name?.startsWith('.')) return;
        this.look(name === null ? path : `${path}/${basename(name)}`);
      });
      watcher.on('error', (error) => this.#log.warn({error, path}, 'names are read by the clock only'));
      this.#watchers.set(path, watcher);
    } catch (error) {
      this.#log.warn({error, path}, 'names are read by the clock only');
    }
  }
}

/** What all hosts are told of an attachment. */
export function containerOf(attachment: DiscoveredAttachment, node: string): NamedContainer {
  const {network, containerId, ifName, domain, names, ips, ports, texts, ttl} = attachment;
  const key = `${network}/${containerId}:${ifName}`;
  return {key, node, network, containerId, domain, names, ips, ports, texts, ttl};
}
