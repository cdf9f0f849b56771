import {
  createServer,
  type IncomingMessage,
  type RequestListener,
  type Server,
  type ServerResponse,
} from 'node:http';
import {setTimeout as sleep} from 'node:timers/promises';
import type {Registry} from 'prom-client';
import type {Logger} from '../../lib/log.ts';
import {listenOnPath} from '../unix-socket.ts';
import {parseListen} from '../fields.ts';

/** What can be asked of an agent. */
export interface Subject {
  readonly metrics: Registry;
  /** Sentences; empty when the node is ready. */
  notReady(): readonly string[];
  /** Plain JSON. */
  status(): unknown;
  /** Looks at everything again. */
  reconcile(): Promise<void>;
}

export interface HttpOptions {
  /** The path of the socket for root. */
  readonly socketPath: string;
  /** `address:port` of the listener for everybody. */
  readonly listen: string | undefined;
  readonly subject: Subject;
  readonly log: Logger;
  /** Another process has taken the socket over. */
  readonly onReplaced?: () => void;
}

/** The listeners of an agent. */
export interface HttpServer {
  /** Listens for everybody on another address, or on none. Throws when it cannot, and then on none. */
  listen(address: string | undefined): Promise<void>;
  close(): Promise<void>;
}

/** What answers one request; it may throw. */
type Route = (subject: Subject, response: ServerResponse) => void | Promise<void>;

/** For everybody: nothing that changes anything, or says more than figures. */
const openRoutes: Readonly<Record<string, Route>> = {
  // Whoever is answered knows that the event loop turns.
  'GET /livez': (_, response) => sendText(response, 200, 'ok\n'),
  'GET /readyz'(subject, response) {
    const reasons = subject.notReady();
    sendText(
      response,
      reasons.length === 0 ? 200 : 503,
      [...reasons, ...(reasons[0] ? [] : ['ok'])].join('\n') + '\n',
    );
  },
  async 'GET /metrics'({metrics}, response) {
    const text = await metrics.metrics();
    response.setHeader('content-type', metrics.contentType);
    response.end(text);
  },
};

const ownRoutes: Readonly<Record<string, Route>> = {
  ...openRoutes,
  'GET /status'(subject, response) {
    response.setHeader('content-type', 'application/json');
    response.end(`${JSON.stringify(subject.status())}\n`);
  },
  async 'POST /reconcile'(subject, response) {
    await subject.reconcile();
    sendText(response, 200, 'ok\n');
  },
};

/** Listens on the socket for root and, if asked, for everybody over TCP. Throws when it cannot. */
export async function startHttp({
  socketPath,
  listen,
  subject,
  log,
  onReplaced,
}: HttpOptions): Promise<HttpServer> {
  const own = createServer(limits, respond(ownRoutes, subject, log));
  const socket = await listenOnPath(own, {path: socketPath, ...(onReplaced && {onReplaced})});
  let open: Server | undefined;
  const server: HttpServer = {
    async listen(address) {
      if (open) await closeServer(open);
      open = undefined;
      if (address === undefined) return;
      const next = createServer(limits, respond(openRoutes, subject, log));
      await listenOnAddress(next, address);
      open = next;
    },
    async close() {
      socket.remove();
      await Promise.all([own, ...(open ? [open] : [])].map(closeServer));
    },
  };
  try {
    await server.listen(listen);
  } catch (error) {
    await server.close();
    throw error;
  }
  return server;
}

/** Nobody holds a connection for long. */
const limits = {requestTimeout: 10_000, headersTimeout: 10_000, keepAliveTimeout: 5000} as const;

function respond(routes: Readonly<Record<string, Route>>, subject: Subject, log: Logger): RequestListener {
  return (request, response) => {
    // Nothing is read of a body, whatever it is.
    request.resume();
    void answer(routes, subject, {request, response}).catch((error: unknown) => {
      log.error({error, url: request.url}, 'a request failed');
      if (!response.headersSent) sendText(response, 500, `${(error as Error).message}\n`);
      else response.destroy();
    });
  };
}

async function answer(
  routes: Readonly<Record<string, Route>>,
  subject: Subject,
  {request, response}: {readonly request: IncomingMessage; readonly response: ServerResponse},
): Promise<void> {
  const path = (request.url ?? '').replace(/\?.*/s, '');
  const method = request.method === 'HEAD' ? 'GET' : (request.method ?? '');
  const key = `${method} ${path}`;
  if (Object.hasOwn(routes, key)) return routes[key]!(subject, response);
  const others = Object.keys(routes).filter((each) => each.endsWith(` ${path}`));
  if (others.length === 0) return sendText(response, 404, `there is no ${path}\n`);
  response.setHeader('allow', others.map((each) => each.split(' ')[0]).join(', '));
  return sendText(response, 405, `${path} takes no ${method}\n`);
}

function sendText(response: ServerResponse, code: number, text: string): void {
  response.statusCode = code;
  response.setHeader('content-type', 'text/plain; charset=utf-8');
  response.end(text);
}

/** How long the agent that was here before may take to give its port up. */
const portTimeoutMs = 5000;

async function listenOnAddress(server: Server, listen: string): Promise<void> {
  for (const deadline = Date.now() + portTimeoutMs; ;) {
    try {
      return await listenOnce(server, listen);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EADDRINUSE' || Date.now() > deadline) {
        throw new Error(`"http.listen": cannot listen on ${listen}: ${(error as Error).message}`);
      }
      await sleep(50);
    }
  }
}

function listenOnce(server: Server, listen: string): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(parseListen(listen), () => {
      server.off('error', reject);
      resolve();
    });
  });
}

function closeServer(server: Server): Promise<void> {
  return new Promise((resolve) => {
    server.close(() => resolve());
    server.closeIdleConnections();
    // One that is being answered has this long.
    setTimeout(() => server.closeAllConnections(), 1000).unref();
  });
}
