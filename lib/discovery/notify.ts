import {createConnection} from 'node:net';

/** What the agent is told, and what it says: one line of JSON each. */
export interface NameNotice {
  /** The file that was written or removed. */
  readonly file: string;
}

export interface NameReply {
  /** Absent when the names are served. */
  readonly error?: string;
}

/** Where the agent takes notices. */
export const defaultNameSocket = '/run/weft/names.sock';

/**
 * Tells the agent of a change and waits until it serves it. `absent` where no agent runs. Throws when it does not answer
 * within `timeoutMs`, or says that it could not.
 */
export function notifyAgent(
  socket: string,
  notice: NameNotice,
  {timeoutMs}: {readonly timeoutMs: number},
): Promise<'served' | 'absent'> {
  const {promise, resolve, reject} = Promise.withResolvers<'served' | 'absent'>();
  const connection = createConnection(socket);
  let received = '';
  connection.setEncoding('utf8');
  const timer = setTimeout(
    () => connection.destroy(new Error(`no answer within ${timeoutMs} ms`)),
    timeoutMs,
  );
  connection.on('connect', () => connection.write(`${JSON.stringify(notice)}\n`));
  connection.on('data', (chunk: string) => {
    received += chunk;
    if (received.includes('\n')) connection.end();
  });
  connection.on('error', (error: NodeJS.ErrnoException) => {
    clearTimeout(timer);
    // Nothing is there, or what a dead agent left.
    if (error.code === 'ENOENT' || error.code === 'ECONNREFUSED') resolve('absent');
    else reject(new Error(`the agent at ${socket} did not take the name`, {cause: error}));
  });
  connection.on('close', () => {
    clearTimeout(timer);
    finish();
  });
  function finish(): void {
    try {
      const {error} = JSON.parse(received) as NameReply;
      if (error === undefined) resolve('served');
      else reject(new Error(`the agent cannot serve the name: ${error}`));
    } catch {
      reject(new Error(`the agent at ${socket} ended the conversation without an answer`));
    }
  }
  return promise;
}
