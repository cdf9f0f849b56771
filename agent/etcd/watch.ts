import type {EtcdClient} from './client.ts';
import {errorOfWire, parseAnswer} from './errors.ts';
import {encode, endOfPrefix, keyValueOf, type KeyValue, type WireError, type WireWatch} from './wire.ts';

/** Changes between the revision asked for and now are gone: everything has to be listed again. */
export class GapError extends Error {
  override readonly name = 'GapError';
}

export interface WatchEvent {
  readonly kind: 'put' | 'delete';
  /** Of a deletion only key and modRevision say something. */
  readonly kv: KeyValue;
}

export interface WatchOptions {
  readonly prefix: string;
  /** The last revision that is known. */
  readonly after: number;
  readonly signal: AbortSignal;
  /** The stream is broken when nothing comes for so long, which etcd's notes of progress prevent. */
  readonly idleMs: number;
  readonly onOpen: () => void;
  /** Changes of one or more whole revisions, or none when etcd only says how far it is. */
  readonly onEvents: (events: readonly WatchEvent[], revision: number) => void;
}

/**
 * Follows all keys below a prefix until something breaks: never returns, throws why. GapError after a compaction, and when
 * the store is younger than what we know of it (its data were lost). The stream ends when its endpoint fails elsewhere.
 */
export async function watchPrefix(client: EtcdClient, options: WatchOptions): Promise<never> {
  const {prefix, after, signal, idleMs} = options;
  const controller = new AbortController();
  const abort = () => controller.abort(signal.reason);
  if (signal.aborted) abort();
  else signal.addEventListener('abort', abort, {once: true});
  let url: URL | undefined;
  const forget = client.endpoints.onFail((failed) => {
    if (failed === url) controller.abort(new Error(`${failed.origin} does not answer`));
  });
  try {
    const body = {
      create_request: {
        key: encode(prefix),
        range_end: endOfPrefix(prefix),
        start_revision: String(after + 1),
        progress_notify: true,
      },
    };
    const opened = await client.stream('watch', body, {signal: controller.signal, idleMs});
    url = opened.url;
    try {
      for await (const line of opened.lines) handle(line, options);
    } catch (error) {
      client.noteRefusedToken(error);
      // Whatever the stream's fault was, the next attempt had better go elsewhere.
      if (!signal.aborted && !(error instanceof GapError)) client.endpoints.fail(url);
      throw error;
    }
    client.endpoints.fail(url);
    throw new Error(`${url.origin} ended the watch`);
  } finally {
    forget();
    signal.removeEventListener('abort', abort);
  }
}

function handle(line: string, {after, onOpen, onEvents}: WatchOptions): void {
  const {result, error} = parseAnswer(line) as {result?: WireWatch; error?: WireError};
  if (error !== undefined) throw errorOfWire(error);
  if (result === undefined) throw new Error(`not an answer of etcd: ${JSON.stringify(line.slice(0, 80))}`);
  const revision = Number(result.header?.revision ?? 0);
  if (result.compact_revision !== undefined)
    throw new GapError(`changes up to revision ${result.compact_revision} were compacted`);
  if (result.canceled === true) throw new Error(result.cancel_reason || 'etcd cancelled the watch');
  if (result.created === true) {
    if (revision < after)
      throw new GapError(`the store is at revision ${revision}, but was at ${after} before`);
    onOpen();
    return;
  }
  const events = (result.events ?? []).map(({type, kv = {}}): WatchEvent => ({
    kind: type === 'DELETE' ? 'delete' : 'put',
    kv: keyValueOf(kv),
  }));
  // While it catches up, the header is ahead of the events; without events it says how far the watch is.
  onEvents(
    events,
    events.reduce((most, {kv}) => Math.max(most, kv.modRevision), events.length > 0 ? 0 : revision),
  );
}
