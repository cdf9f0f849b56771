import {readFileSync} from 'node:fs';
import {
  createServer as createHttpServer,
  type IncomingMessage,
  type Server,
  type ServerResponse,
} from 'node:http';
import {createServer as createHttpsServer} from 'node:https';
import {once} from 'node:events';
import type {Json} from '../../../lib/cni/types.ts';
import type {Logger} from '../../../lib/log.ts';
import {listenOnPath, type UnixSocket} from '../../unix-socket.ts';
import {RegistryError} from '../registration.ts';
import type {ApiResponse, Router} from './router.ts';

/** Over TCP only those with a certificate of the authority are let in. */
export interface TlsListen {
  readonly host: string;
  readonly port: number;
  readonly cert: string;
  readonly key: string;
  readonly ca: string;
}

const mostBody = 1 << 20;
const headersTimeoutMs = 10_000;

/** The registry's interface over HTTP: on a socket that is root's alone, and on TCP with certificates on both sides. */
export class ApiServer {
  readonly #router: Router;
  readonly #log: Logger;
  readonly #servers: Server[] = [];
  #socket: UnixSocket | undefined;

  constructor(router: Router, log: Logger) {
    this.#router = router;
    this.#log = log;
  }

  async listen({path, tls}: {readonly path: string; readonly tls?: TlsListen | undefined}): Promise<void> {
    const server = createHttpServer((request, response) => void this.#answer(request, response));
    this.#adopt(server);
    this.#socket = await listenOnPath(server, {path});
    if (tls === undefined) return;
    const secure = createHttpsServer(
      {
        cert: readFileSync(tls.cert),
        key: readFileSync(tls.key),
        ca: readFileSync(tls.ca),
        requestCert: true,
        rejectUnauthorized: true,
        minVersion: 'TLSv1.2',
      },
      (request, response) => void this.#answer(request, response),
    );
    this.#adopt(secure);
    secure.listen({host: tls.host, port: tls.port, reusePort: true});
    await once(secure, 'listening');
  }

  async close(): Promise<void> {
    this.#socket?.remove();
    for (const server of this.#servers) {
      server.closeAllConnections();
      if (server.listening) await new Promise((resolve) => server.close(resolve));
    }
  }

  #adopt(server: Server): void {
    server.headersTimeout = headersTimeoutMs;
    server.requestTimeout = headersTimeoutMs;
    this.#servers.push(server);
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const aborted = new AbortController();
    response.once('close', () => aborted.abort());
    try {
      send(response, await this.#handle(request, aborted.signal));
    } catch (error) {
      if (error instanceof RegistryError) {
        send(response, {code: error.code, body: `${error.message}\n`});
        return;
      }
      this.#log.error({error, url: request.url}, 'a request of the registry failed');
      send(response, {code: 500, body: `${(error as Error).message}\n`});
    }
  }

  async #handle(request: IncomingMessage, signal: AbortSignal): Promise<ApiResponse> {
    const url = new URL(request.url ?? '/', 'http://registry');
    const found = this.#router.find(request.method ?? '', url.pathname);
    if (found === undefined) throw new RegistryError(404, `there is nothing at ${url.pathname}`);
    if (found === 'method') throw new RegistryError(405, `${url.pathname} is not for ${request.method}`);
    const body = await readBody(request);
    const {method = ''} = request;
    return found.handler({method, params: found.params, query: url.searchParams, body, signal});
  }
}

async function readBody(request: IncomingMessage): Promise<Json> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of request as AsyncIterable<Buffer>) {
    size += chunk.length;
    if (size > mostBody) throw new RegistryError(413, `a request has at most ${mostBody} bytes`);
    chunks.push(chunk);
  }
  const text = Buffer.concat(chunks).toString();
  if (text.trim() === '') return null;
  try {
    return JSON.parse(text) as Json;
  } catch (error) {
    throw new RegistryError(400, `the request is not JSON: ${(error as Error).message}`);
  }
}

function send(response: ServerResponse, {code = 200, body, headers = {}}: ApiResponse): void {
  if (response.destroyed) return;
  const isText = typeof body === 'string';
  response.writeHead(code, {'content-type': isText ? 'text/plain' : 'application/json', ...headers});
  response.end(body === undefined ? '' : isText ? body : `${JSON.stringify(body)}\n`);
}
