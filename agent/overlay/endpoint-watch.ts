import {watch, type FSWatcher} from 'node:fs';
import {ensureEndpointDirectory, listEndpoints} from '../../lib/overlay/endpoint-file.ts';
import type {Endpoint} from '../../lib/overlay/member.ts';
import type {Logger} from '../../lib/log.ts';

/** The containers of an `l2` network on this host, as the plugin's files tell them; `onChange` when they may have changed. */
export class EndpointWatch {
  readonly #directory: string;
  readonly #watcher: FSWatcher | undefined;

  constructor(directory: string, {onChange, log}: {readonly onChange: () => void; readonly log: Logger}) {
    this.#directory = directory;
    ensureEndpointDirectory(directory);
    try {
      // Names that begin with a dot are files still being written.
      this.#watcher = watch(directory, {persistent: false}, (_, name) => {
        if (name === null || !name.startsWith('.')) onChange();
      });
      this.#watcher.on('error', (error) =>
        log.warn({error, directory}, 'endpoints are read by the clock only'),
      );
    } catch (error) {
      log.warn({error, directory}, 'endpoints are read by the clock only');
    }
  }

  /** In an order that does not change by itself. */
  read(): readonly Endpoint[] {
    return listEndpoints(this.#directory).toSorted((a, b) => (a.mac < b.mac ? -1 : a.mac > b.mac ? 1 : 0));
  }

  close(): void {
    this.#watcher?.close();
  }
}
