import {parseDuration} from '../duration.ts';
import {RegistryError} from '../registration.ts';
import type {ApiRequest} from './router.ts';

/** What of a collection counts here. */
interface Waitable {
  readonly index: number;
  waitBeyond(index: number, waitMs: number, signal?: AbortSignal): Promise<void>;
}

const defaultWaitMs = 5 * 60_000;
const longestWaitMs = 10 * 60_000;

/**
 * A blocking query (`?index=N&wait=30s`): returns when something changed beyond the index, or the time is over. Without an index it returns
 * at once. Gives the header that says where things stand.
 */
export async function waitForNews(
  collections: readonly Waitable[],
  {query, signal}: Pick<ApiRequest, 'query' | 'signal'>,
): Promise<Readonly<Record<string, string>>> {
  const index = Number(query.get('index') ?? 0);
  if (!Number.isInteger(index) || index < 0)
    throw new RegistryError(400, `"index": ${query.get('index')} is no number`);
  const read = () => collections.reduce((sum, each) => sum + each.index, 0);
  if (index > 0 && read() <= index) {
    const text = query.get('wait');
    const waitMs = text === null ? defaultWaitMs : parseDuration(text);
    if (waitMs === undefined) throw new RegistryError(400, `"wait": ${text} is no time such as "30s"`);
    const over = AbortSignal.any([
      signal,
      AbortSignal.timeout(Math.min(waitMs || defaultWaitMs, longestWaitMs)),
    ]);
    while (!over.aborted && read() <= index) {
      await Promise.race(collections.map((each) => each.waitBeyond(each.index, longestWaitMs, over)));
    }
  }
  return {'x-consul-index': String(read()), 'x-consul-knownleader': 'true', 'x-consul-lastcontact': '0'};
}
