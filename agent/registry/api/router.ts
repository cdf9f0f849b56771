import type {Json} from '../../../lib/cni/types.ts';

/** A request, read. */
export interface ApiRequest {
  readonly method: string;
  /** Of the pattern's `:name` parts, decoded. */
  readonly params: Readonly<Record<string, string>>;
  readonly query: URLSearchParams;
  /** The body; null where there is none. */
  readonly body: Json;
  /** Ends when the client went away. */
  readonly signal: AbortSignal;
}

export interface ApiResponse {
  readonly code?: number;
  /** JSON; a text is sent as it is. */
  readonly body?: unknown;
  readonly headers?: Readonly<Record<string, string>>;
}

export type ApiHandler = (request: ApiRequest) => ApiResponse | Promise<ApiResponse>;

/** `PUT /v1/agent/service/deregister/:id` and what answers it. */
export type Routes = Readonly<Record<string, ApiHandler>>;

export interface Match {
  readonly handler: ApiHandler;
  readonly params: Readonly<Record<string, string>>;
}

interface Route {
  readonly method: string;
  readonly parts: readonly string[];
  readonly handler: ApiHandler;
}

/** Finds who answers a request. */
export class Router {
  readonly #routes: readonly Route[];

  constructor(routes: Routes) {
    this.#routes = Object.entries(routes).map(([pattern, handler]) => {
      const [method = '', path = ''] = pattern.split(' ');
      return {method, parts: path.split('/'), handler};
    });
  }

  /** `'method'` where the path is known, but not for this method. */
  find(method: string, path: string): Match | 'method' | undefined {
    const parts = path.split('/').map(decode);
    const found = this.#routes.filter((route) => matches(route.parts, parts));
    const route = found.find((each) => each.method === method);
    if (route === undefined) return found.length > 0 ? 'method' : undefined;
    const params = route.parts.flatMap((part, i) =>
      part.startsWith(':') ? [[part.slice(1), parts[i]!] as const] : [],
    );
    return {handler: route.handler, params: Object.fromEntries(params)};
  }
}

function matches(pattern: readonly string[], parts: readonly string[]): boolean {
  return (
    pattern.length === parts.length &&
    pattern.every((part, i) => (part.startsWith(':') ? parts[i] !== '' : part === parts[i]))
  );
}

function decode(part: string): string {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}
