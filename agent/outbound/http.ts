import http, {type IncomingHttpHeaders, type IncomingMessage} from 'node:http';
import https from 'node:https';
import {StringDecoder} from 'node:string_decoder';

export interface HttpRequest {
  readonly url: URL;
  readonly method: 'GET' | 'POST' | 'PATCH';
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string | undefined;
  readonly agent: http.Agent;
  readonly signal: AbortSignal;
  /** For the whole answer; of a stream, for its beginning. */
  readonly timeoutMs: number;
}

export interface HttpAnswer {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly body: string;
}

/** Something answered that is not what was asked for, or did not stop answering. */
export class HttpLimitError extends Error {
  override readonly name = 'HttpLimitError';
}

const mostBytes = 512 * 1024 * 1024;
const mostBytesOfALine = 64 * 1024 * 1024;

/** One request and its whole answer, whatever its status. Throws when there is none within the time. */
export async function sendRequest(request: HttpRequest): Promise<HttpAnswer> {
  using deadline = startDeadline(request);
  const response = await open(request, deadline.signal);
  // Awaited here: the deadline is for all of it.
  return await readWhole(response);
}

/** An answer that never ends by itself, line by line; or a whole one, where its status is not 200. */
export type HttpStream = {readonly lines: AsyncIterable<string>} | {readonly answer: HttpAnswer};

/**
 * One request whose answer is a stream of lines. The iteration throws when the connection breaks or when nothing comes
 * for `idleMs`, and ends when the other side ends it.
 */
export async function openStream(request: HttpRequest & {readonly idleMs: number}): Promise<HttpStream> {
  using deadline = startDeadline(request);
  // What the deadline destroys is the beginning alone; afterwards only the caller's own signal ends the stream.
  const response = await open(request, deadline.signal);
  if (response.statusCode !== 200) return {answer: await readWhole(response)};
  return {lines: readLines(response, request)};
}

/** A deadline that ends the request together with the caller's signal. */
function startDeadline({timeoutMs, signal, url}: HttpRequest): Disposable & {readonly signal: AbortSignal} {
  const controller = new AbortController();
  const timer = setTimeout(
    () => controller.abort(new Error(`no answer from ${url.host} within ${timeoutMs} ms`)),
    timeoutMs,
  );
  const abort = () => controller.abort(signal.reason);
  if (signal.aborted) abort();
  else signal.addEventListener('abort', abort, {once: true});
  return {
    signal: controller.signal,
    [Symbol.dispose]() {
      clearTimeout(timer);
      signal.removeEventListener('abort', abort);
    },
  };
}

function open(
  {url, method, headers = {}, body, agent}: HttpRequest,
  signal: AbortSignal,
): Promise<IncomingMessage> {
  const {promise, resolve, reject} = Promise.withResolvers<IncomingMessage>();
  const request = (url.protocol === 'https:' ? https : http).request(url, {
    method,
    agent,
    headers: {
      ...headers,
      ...(body === undefined ? {} : {'content-length': String(Buffer.byteLength(body))}),
    },
  });
  const abort = () => request.destroy(signal.reason as Error);
  if (signal.aborted) abort();
  else signal.addEventListener('abort', abort, {once: true});
  request.once('error', (error) => reject(signal.aborted ? (signal.reason as Error) : error));
  request.once('response', (response) => {
    // Ended by the reader of the body from now on; an error without a listener would end the process.
    request.on('error', () => {});
    response.once('close', () => signal.removeEventListener('abort', abort));
    resolve(response);
  });
  request.end(body);
  return promise;
}

async function readWhole(response: IncomingMessage): Promise<HttpAnswer> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of response as AsyncIterable<Buffer>) {
    bytes += chunk.length;
    if (bytes > mostBytes) throw new HttpLimitError(`an answer of more than ${mostBytes} bytes`);
    chunks.push(chunk);
  }
  if (!response.complete) throw new Error('the connection was closed in the middle of an answer');
  return {
    status: response.statusCode ?? 0,
    headers: response.headers,
    body: Buffer.concat(chunks).toString('utf8'),
  };
}

async function* readLines(
  response: IncomingMessage,
  {url, signal, idleMs}: HttpRequest & {readonly idleMs: number},
): AsyncGenerator<string> {
  const decoder = new StringDecoder('utf8');
  const abort = () => response.destroy(signal.reason as Error);
  if (signal.aborted) abort();
  else signal.addEventListener('abort', abort, {once: true});
  const idle = setTimeout(
    () => response.destroy(new Error(`nothing from ${url.host} for ${idleMs} ms`)),
    idleMs,
  );
  try {
    // Pieces are joined when the line ends: adding to a string again and again would copy a long one each time.
    let pieces: string[] = [];
    let length = 0;
    for await (const chunk of response as AsyncIterable<Buffer>) {
      idle.refresh();
      const parts = decoder.write(chunk).split('\n');
      for (const [i, part] of parts.entries()) {
        pieces.push(part);
        length += part.length;
        if (length > mostBytesOfALine)
          throw new HttpLimitError(`a line of more than ${mostBytesOfALine} bytes`);
        if (i === parts.length - 1) break;
        const line = pieces.join('');
        pieces = [];
        length = 0;
        if (line !== '') yield line;
      }
    }
    if (!response.complete) throw new Error(`${url.host} closed the connection in the middle of a stream`);
  } finally {
    clearTimeout(idle);
    signal.removeEventListener('abort', abort);
    response.destroy();
  }
}

/** Parses what must be an object of JSON. Throws an Error that says whose answer it should be, and how it begins. */
export function parseJsonObject(text: string, source: string): unknown {
  try {
    const value: unknown = JSON.parse(text);
    if (typeof value === 'object' && value !== null) return value;
  } catch {
    // Reported below, with what came.
  }
  throw new Error(`not an answer of ${source}: ${JSON.stringify(text.slice(0, 80))}`);
}
