import {existsSync} from 'node:fs';
import {join} from 'node:path';

/** Where the agent keeps its sockets unless its configuration says otherwise. */
export const defaultRunDir = '/run/weft';

/** An answer of one of the agent's HTTP interfaces. */
export interface AgentAnswer {
  readonly code: number;
  readonly text: string;
  readonly headers: Readonly<Record<string, string | readonly string[] | undefined>>;
}

export interface AgentRequest {
  readonly method?: 'GET' | 'PUT' | 'POST' | 'DELETE';
  /** Sent as JSON. */
  readonly body?: unknown;
  readonly timeoutMs?: number;
}

/**
 * Asks over a socket of the agent's; undefined where no agent has ever been. Throws when one was but does not answer, or not
 * within `timeoutMs`.
 */
export async function callSocket(
  socketPath: string,
  path: string,
  {method = 'GET', body, timeoutMs = 5000}: AgentRequest = {},
): Promise<AgentAnswer | undefined> {
  if (!existsSync(socketPath)) return undefined;
  // Loaded here: the other commands of the tool need no HTTP.
  const {request} = process.getBuiltinModule('node:http');
  const {promise, resolve, reject} = Promise.withResolvers<AgentAnswer>();
  const call = request({socketPath, path, method, timeout: timeoutMs}, (response) => {
    const chunks: Buffer[] = [];
    response.on('data', (chunk: Buffer) => chunks.push(chunk));
    response.once('error', reject);
    response.once('end', () =>
      resolve({
        code: response.statusCode ?? 0,
        text: Buffer.concat(chunks).toString(),
        headers: response.headers,
      }),
    );
  });
  call.once('timeout', () => call.destroy(new Error(`no answer within ${timeoutMs} ms`)));
  call.once('error', reject);
  call.end(body === undefined ? undefined : JSON.stringify(body));
  try {
    return await promise;
  } catch (cause) {
    throw new Error(`the agent does not answer on ${socketPath}`, {cause});
  }
}

/** Asks the agent how it is: `/readyz`, `/status`, `/metrics`. As `callSocket`. */
export function askAgent(
  path: string,
  {runDir = defaultRunDir, timeoutMs = 5000}: {readonly runDir?: string; readonly timeoutMs?: number} = {},
): Promise<AgentAnswer | undefined> {
  return callSocket(join(runDir, 'agent.sock'), path, {timeoutMs});
}
