import {existsSync} from 'node:fs';
import {join} from 'node:path';

/** Where the agent keeps its sockets unless its configuration says otherwise. */
export const defaultRunDir = '/run/weft';

/** An answer of the agent's HTTP interface. */
export interface AgentAnswer {
  readonly code: number;
  readonly text: string;
}

/**
 * Asks the agent over its socket; undefined where no agent has ever been. Throws when one was but does not answer, or not
 * within `timeoutMs`.
 */
export async function askAgent(
  path: string,
  {runDir = defaultRunDir, timeoutMs = 5000}: {readonly runDir?: string; readonly timeoutMs?: number} = {},
): Promise<AgentAnswer | undefined> {
  const socketPath = join(runDir, 'agent.sock');
  if (!existsSync(socketPath)) return undefined;
  // Loaded here: the other commands of the tool need no HTTP.
  const {request} = process.getBuiltinModule('node:http');
  const {promise, resolve, reject} = Promise.withResolvers<AgentAnswer>();
  const call = request({socketPath, path, method: 'GET', timeout: timeoutMs}, (response) => {
    const chunks: Buffer[] = [];
    response.on('data', (chunk: Buffer) => chunks.push(chunk));
    response.once('error', reject);
    response.once('end', () =>
      resolve({code: response.statusCode ?? 0, text: Buffer.concat(chunks).toString()}),
    );
  });
  call.once('timeout', () => call.destroy(new Error(`no answer within ${timeoutMs} ms`)));
  call.once('error', reject);
  call.end();
  try {
    return await promise;
  } catch (cause) {
    throw new Error(`the agent does not answer on ${socketPath}`, {cause});
  }
}
