import type {ExecutionContext} from 'ava';
import {makeHost, type TestHost} from './host.ts';

const most = 4;
let open = 0;
const waiting: (() => void)[] = [];

/**
 * As `makeHost`, for files of many tests, which ava starts all at once: at most four hosts of a file exist at
 * the same time, so that none of them waits for the processor until its commands time out.
 */
export async function makeHostInTurn(t: ExecutionContext): Promise<TestHost> {
  if (open === most) await new Promise<void>((resolve) => waiting.push(resolve));
  else open++;
  // Teardowns run last to first: the host is closed before another one gets its turn.
  t.teardown(() => {
    const next = waiting.shift();
    if (next) next();
    else open--;
  });
  return makeHost(t);
}
