import {readdirSync, readFileSync, renameSync, unlinkSync, writeFileSync} from 'node:fs';
import {join} from 'node:path';
import {ensureDirectory} from '../../lib/files.ts';
import type {Logger} from '../../lib/log.ts';

/**
 * Things kept as files, one each, written whole or not at all: what is registered outlives the agent, and the machine's reboot. A file that
 * cannot be read is logged and left.
 */
export class FileStore<Value> {
  readonly #directory: string;
  readonly #parse: (json: unknown) => Value | undefined;
  readonly #log: Logger;

  /** `parse` gives undefined for what is none of these things. */
  constructor(
    directory: string,
    {parse, log}: {readonly parse: (json: unknown) => Value | undefined; readonly log: Logger},
  ) {
    this.#directory = directory;
    this.#parse = parse;
    this.#log = log;
  }

  list(): readonly Value[] {
    return this.#names()
      .filter((name) => name.endsWith('.json') && !name.startsWith('.'))
      .flatMap((name) => {
        const file = join(this.#directory, name);
        try {
          const value = this.#parse(JSON.parse(readFileSync(file, 'utf8')));
          if (value !== undefined) return [value];
          this.#log.error({file}, 'this file holds something else and is not read');
          return [];
        } catch (error) {
          this.#log.error({error, file}, 'this file is damaged and not read');
          return [];
        }
      });
  }

  put(key: string, value: Value): void {
    ensureDirectory(this.#directory, 0o755);
    const name = `${encodeURIComponent(key)}.json`;
    const unfinished = join(this.#directory, `.${name}`);
    writeFileSync(unfinished, `${JSON.stringify(value)}\n`, {mode: 0o600, flush: true});
    renameSync(unfinished, join(this.#directory, name));
  }

  /** There is no directory before there is something to keep. */
  #names(): readonly string[] {
    try {
      return readdirSync(this.#directory);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return [];
      throw error;
    }
  }

  remove(key: string): void {
    try {
      unlinkSync(join(this.#directory, `${encodeURIComponent(key)}.json`));
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
    }
  }
}
