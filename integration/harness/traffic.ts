import {createInterface} from 'node:readline';
import type {TestHost} from './host.ts';
import {repository} from './paths.ts';

/** A way for packets; `undefined` for the host's own namespace. */
export interface Way {
  readonly from: string | undefined;
  readonly to: string | undefined;
  /** Of the receiver. */
  readonly address: string;
}

let nextPort = 5000;

/** Bits of payload per second that arrive by one TCP connection, once it has got going. */
export async function measureRate(
  host: TestHost,
  {from, to, address}: Way,
  {skipMs = 700, measureMs = 3000}: {readonly skipMs?: number; readonly measureMs?: number} = {},
): Promise<number> {
  const port = String(nextPort++);
  const start = (netns: string | undefined, ...args: string[]) => {
    const argv = [
      process.execPath,
      '--no-warnings',
      `${repository}/integration/harness/traffic-worker.ts`,
      ...args,
    ];
    return host.start(netns === undefined ? argv : host.inNetns(netns, argv));
  };
  const receiver = start(to, 'receive', port, String(skipMs), String(measureMs));
  let sender: ReturnType<typeof start> | undefined;
  const deadline = setTimeout(() => receiver.kill('SIGKILL'), skipMs + measureMs + 20_000);
  try {
    for await (const line of createInterface({input: receiver.stdout!})) {
      if (line === 'ready') sender = start(from, 'send', address, port);
      const rate = /^rate (\d+)$/.exec(line)?.[1];
      if (rate !== undefined) return Number(rate) * 8;
    }
    throw new Error(`nothing was measured from ${from ?? 'the host'} to ${address}`);
  } finally {
    clearTimeout(deadline);
    sender?.kill('SIGKILL');
    receiver.kill('SIGKILL');
  }
}
