import {readdirSync, readFileSync, renameSync, writeFileSync} from 'node:fs';
import {join} from 'node:path';
import {ensureDirectory, removeQuietly} from '../../lib/files.ts';
import type {Attached} from './attachments.ts';

/** An attachment of which something was made anew: what has to be taken back should its DEL have been under way. */
export interface Restored {
  readonly attached: Attached;
  /** The host's end of it. */
  readonly link: {readonly name: string; readonly ifindex: number};
}

/**
 * What was made anew, in memory and on disk, so that an agent that was killed in between leaves nothing behind: its
 * successor goes on with it.
 */
export class Journal {
  readonly #folder: string;
  readonly #restored = new Map<string, Restored>();

  constructor(runDir: string) {
    this.#folder = join(runDir, 'repair');
  }

  /** Reads what a predecessor left; what cannot be read is dropped. */
  load(): void {
    for (const name of this.#names()) {
      const file = join(this.#folder, name);
      try {
        const restored = JSON.parse(readFileSync(file, 'utf8')) as Restored;
        if (nameOf(restored) !== name) throw new Error('of another name');
        this.#restored.set(name, restored);
      } catch {
        removeQuietly(file);
      }
    }
  }

  list(): readonly Restored[] {
    return [...this.#restored.values()];
  }

  get size(): number {
    return this.#restored.size;
  }

  /** Before anything is made. */
  put(restored: Restored): void {
    const name = nameOf(restored);
    if (this.#restored.get(name)?.attached === restored.attached) return;
    this.#restored.set(name, restored);
    ensureDirectory(this.#folder, 0o700);
    const file = join(this.#folder, name);
    writeFileSync(`${file}.new`, JSON.stringify(restored), {mode: 0o600});
    renameSync(`${file}.new`, file);
  }

  delete(restored: Restored): void {
    const name = nameOf(restored);
    if (this.#restored.delete(name)) removeQuietly(join(this.#folder, name));
  }

  #names(): string[] {
    try {
      return readdirSync(this.#folder);
    } catch {
      return [];
    }
  }
}

/** An attachment that was made anew under the same names has another interface. */
function nameOf({attached: {key}, link: {ifindex}}: Restored): string {
  return `${key}-${ifindex}`;
}
