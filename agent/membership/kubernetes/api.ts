import {openStream, parseJsonObject, sendRequest, type HttpAnswer} from '../../outbound/http.ts';
import {HttpAgents} from '../../outbound/http-agents.ts';
import type {Access} from './access.ts';

/** What the API server refused: a Status of Kubernetes', as far as it gave one. */
export class ApiError extends Error {
  override readonly name = 'ApiError';
  readonly status: number;
  /** How long it asks to be left alone; 0 where it does not say. */
  readonly retryAfterMs: number;

  constructor(status: number, message: string, retryAfterMs = 0) {
    super(message);
    this.status = status;
    this.retryAfterMs = retryAfterMs;
  }
}

// kubelet renews a token long before its end; those who ask less often than this would miss the change.
const tokenAgeMs = 60_000;

/** Kubernetes' API by HTTP: with a deadline for each request, and a token that is read again when it is refused. */
export class KubeApi {
  readonly #access: Access;
  readonly #agents: HttpAgents;
  readonly #requestTimeoutMs: number;
  readonly #closed = new AbortController();
  #token: {readonly value: string | undefined; readonly readAt: number} | undefined;

  constructor({access, requestTimeoutMs}: {readonly access: Access; readonly requestTimeoutMs: number}) {
    this.#access = access;
    this.#agents = new HttpAgents(() => access.tls());
    this.#requestTimeoutMs = requestTimeoutMs;
  }

  /** The object at a path. Throws ApiError, or why there was no answer. */
  async get(path: string): Promise<unknown> {
    return parseObject(await this.#send('GET', path));
  }

  /** Strategic merge patch, of which a list of conditions is merged by type; the object as it is afterwards. */
  async patch(path: string, change: object): Promise<unknown> {
    return parseObject(await this.#send('PATCH', path, JSON.stringify(change)));
  }

  /** The lines of a watch. */
  async stream(
    path: string,
    {signal, idleMs}: {readonly signal: AbortSignal; readonly idleMs: number},
  ): Promise<AsyncIterable<string>> {
    for (let attempt = 0; ; attempt++) {
      const opened = await this.#guarded(() => openStream({...this.#requestOf('GET', path), signal, idleMs}));
      if ('lines' in opened) return opened.lines;
      const error = errorOf(opened.answer);
      if (error.status !== 401 || attempt > 0) throw error;
      this.#token = undefined;
    }
  }

  /** Forgets what was read from files. */
  refresh(): void {
    this.#token = undefined;
    this.#agents.refresh();
  }

  close(): void {
    this.#closed.abort(new Error('closed'));
    this.#agents.close();
  }

  async #send(method: 'GET' | 'PATCH', path: string, body?: string): Promise<string> {
    for (let attempt = 0; ; attempt++) {
      const answer = await this.#guarded(() => sendRequest({...this.#requestOf(method, path), body}));
      if (answer.status === 200) return answer.body;
      if (answer.status !== 401 || attempt > 0) throw errorOf(answer);
      this.#token = undefined;
    }
  }

  /** Certificates may have been renewed when a connection fails. */
  async #guarded<T>(run: () => Promise<T>): Promise<T> {
    try {
      return await run();
    } catch (error) {
      this.#agents.refresh();
      throw error;
    }
  }

  #requestOf(method: 'GET' | 'PATCH', path: string) {
    const url = new URL(path, this.#access.server);
    if (this.#token === undefined || performance.now() - this.#token.readAt > tokenAgeMs)
      this.#token = {value: this.#access.token(), readAt: performance.now()};
    const {value: token} = this.#token;
    return {
      url,
      method,
      headers: {
        accept: 'application/json',
        'user-agent': 'weft-agent',
        ...(method === 'PATCH' && {'content-type': 'application/strategic-merge-patch+json'}),
        ...(token !== undefined && {authorization: `Bearer ${token}`}),
      },
      agent: this.#agents.for(url),
      timeoutMs: this.#requestTimeoutMs,
      signal: this.#closed.signal,
    };
  }
}

/** Parses an object of the API. Throws an Error that shows how it begins. */
export function parseObject(text: string): unknown {
  return parseJsonObject(text, 'Kubernetes');
}

function errorOf({status, headers, body}: HttpAnswer): ApiError {
  const seconds = Number(headers['retry-after'] ?? 0);
  const retryAfterMs = Number.isFinite(seconds) ? seconds * 1000 : 0;
  let message = body.trim().slice(0, 120);
  try {
    message = (parseObject(body) as {message?: string}).message ?? message;
  } catch {
    // A proxy's page.
  }
  return new ApiError(status, `HTTP status ${status}: ${message}`, retryAfterMs);
}
