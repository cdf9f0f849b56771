import {readFileSync} from 'node:fs';
import http, {type IncomingMessage, type ServerResponse} from 'node:http';
import https from 'node:https';
import type {AddressInfo, Socket} from 'node:net';
import type {Certificates} from './certificates.ts';

// As much of Kubernetes' API as an overlay's agent uses, with the rules that matter to it: lists in pages that are of one
// revision, watches with bookmarks that go on from a revision or say 410, patches of nodes/status alone, tokens.

interface ApiObject {
  metadata: {
    name: string;
    resourceVersion: string;
    creationTimestamp: string;
    annotations: Record<string, string>;
    managedFields: unknown[];
  };
  spec: {podCIDR?: string; podCIDRs?: readonly string[]};
  status: {conditions: Record<string, unknown>[]; images: unknown[]};
}

interface Event {
  readonly revision: number;
  readonly type: 'ADDED' | 'MODIFIED' | 'DELETED';
  readonly text: string;
}

/** Trouble that a test makes: what the next answers are like. */
export type ApiMode = 'pass' | 'refuse' | 'mute' | 'garbage' | 'busy' | 'error' | 'slow' | 'cut';

export interface TestKubernetes {
  readonly url: string;
  /** Accepted as bearer tokens; any, when empty. */
  readonly tokens: Set<string>;
  /** Requests by what they were: "list", "watch", "patch", "refused". */
  readonly counts: Readonly<Record<string, number>>;
  /** Bodies of the patches that came, in order. */
  readonly patches: readonly Record<string, unknown>[];
  addNode(name: string, options?: {podCIDRs?: readonly string[]; annotations?: Record<string, string>}): void;
  /** Changes a node as somebody else would; null removes. */
  annotate(name: string, annotations: Record<string, string | null>): void;
  /** A heartbeat: only what does not matter changes. */
  beat(name: string): void;
  deleteNode(name: string): void;
  annotationsOf(name: string): Readonly<Record<string, string>>;
  conditionsOf(name: string): readonly Record<string, unknown>[];
  /** Forgets all that happened, so that watches and pages of before are answered with 410. */
  compact(): void;
  /** Ends all watches as the server does after a while. */
  endWatches(): void;
  setMode(mode: ApiMode): void;
}

const pad = Array.from({length: 40}, (_, i) => ({
  names: [`registry.example/team/image-${i}@sha256:${'0123456789abcdef'.repeat(4)}`],
  sizeBytes: 123_456_789,
}));

/** An API server on this address of the loopback, closed when the test ends. */
export async function startKubernetes(
  t: {teardown(run: () => void): void},
  {
    bookmarkMs = 200,
    certificates,
    onList,
    onPatch,
    port = 0,
  }: {
    readonly bookmarkMs?: number;
    /** Speaks TLS, and wants a certificate of the same authority from clients. */
    readonly certificates?: Certificates;
    /** Called before a page is answered, with how many came before it. */
    readonly onList?: (pages: number) => void;
    readonly onPatch?: (name: string, change: unknown) => void;
    readonly port?: number;
  } = {},
): Promise<TestKubernetes> {
  const nodes = new Map<string, ApiObject>();
  const tokens = new Set<string>();
  const counts: Record<string, number> = {};
  const patches: Record<string, unknown>[] = [];
  const watches = new Set<ServerResponse>();
  const sockets = new Set<Socket>();
  let history: Event[] = [];
  let revision = 100;
  let oldest = 100;
  let mode: ApiMode = 'pass';
  const pages = new Map<string, {readonly revision: number; readonly items: readonly string[]}>();

  const count = (what: string) => {
    counts[what] = (counts[what] ?? 0) + 1;
  };
  const record = (type: Event['type'], node: ApiObject) => {
    node.metadata.resourceVersion = String(++revision);
    const text = JSON.stringify({kind: 'Node', apiVersion: 'v1', ...node});
    history.push({revision, type, text});
    for (const watch of watches) write(watch, `{"type":"${type}","object":${text}}\n`);
  };
  const write = (response: ServerResponse, line: string) => {
    if (mode === 'slow')
      for (const [i, byte] of Buffer.from(line).entries())
        setTimeout(() => response.write(Buffer.of(byte)), i / 4).unref();
    else if (mode === 'cut') {
      response.write(line.slice(0, line.length / 2));
      response.destroy();
    } else response.write(line);
  };
  const status = (response: ServerResponse, code: number, message: string, headers = {}) => {
    count(String(code));
    response.writeHead(code, {'content-type': 'application/json', ...headers});
    response.end(JSON.stringify({kind: 'Status', apiVersion: 'v1', status: 'Failure', message, code}));
  };

  const list = (query: URLSearchParams, response: ServerResponse) => {
    onList?.(counts['list'] ?? 0);
    count('list');
    const limit = Number(query.get('limit') ?? 0) || Infinity;
    const token = query.get('continue');
    let page = token === null ? undefined : pages.get(token);
    if (token !== null && (page === undefined || page.revision < oldest))
      return status(response, 410, 'The provided continue parameter is too old');
    page ??= {revision, items: [...nodes.values()].map((node) => JSON.stringify(node))};
    const items = page.items.slice(0, limit);
    const rest = page.items.slice(limit);
    const next = rest.length > 0 ? `page-${pages.size}` : '';
    if (next !== '') pages.set(next, {revision: page.revision, items: rest});
    const metadata = {resourceVersion: String(page.revision), ...(next !== '' && {continue: next})};
    response.end(
      `{"kind":"NodeList","apiVersion":"v1","metadata":${JSON.stringify(metadata)},"items":[${items.join()}]}`,
    );
  };

  const watch = (query: URLSearchParams, response: ServerResponse) => {
    count('watch');
    const from = Number(query.get('resourceVersion'));
    if (from < oldest) return status(response, 410, `too old resource version: ${from} (${oldest})`);
    response.writeHead(200, {'content-type': 'application/json'});
    response.flushHeaders();
    for (const event of history)
      if (event.revision > from) write(response, `{"type":"${event.type}","object":${event.text}}\n`);
    watches.add(response);
    const end = setTimeout(() => response.end(), Number(query.get('timeoutSeconds') ?? 300) * 1000);
    const bookmark = setInterval(() => {
      if (query.get('allowWatchBookmarks') !== 'true' || mode === 'slow') return;
      const object = {kind: 'Node', apiVersion: 'v1', metadata: {resourceVersion: String(revision)}};
      response.write(`${JSON.stringify({type: 'BOOKMARK', object})}\n`);
    }, bookmarkMs);
    response.once('close', () => {
      watches.delete(response);
      clearTimeout(end);
      clearInterval(bookmark);
    });
  };

  const patch = async (name: string, request: IncomingMessage, response: ServerResponse) => {
    count('patch');
    if (request.headers['content-type'] !== 'application/strategic-merge-patch+json')
      return status(response, 415, 'the body of the request was in an unknown format');
    const chunks: Buffer[] = [];
    for await (const chunk of request as AsyncIterable<Buffer>) chunks.push(chunk);
    const change = JSON.parse(Buffer.concat(chunks).toString()) as {
      metadata?: {annotations?: Record<string, string | null>};
      status?: {conditions?: readonly Record<string, unknown>[]};
    };
    const node = nodes.get(name);
    if (node === undefined) return status(response, 404, `nodes "${name}" not found`);
    patches.push(change);
    onPatch?.(name, change);
    merge(node.metadata.annotations, change.metadata?.annotations ?? {});
    // The list of conditions is merged by type.
    for (const condition of change.status?.conditions ?? []) {
      const known = node.status.conditions.find(({type}) => type === condition['type']);
      if (known === undefined) node.status.conditions.push(condition);
      else Object.assign(known, condition);
    }
    record('MODIFIED', node);
    response.end(JSON.stringify({kind: 'Node', apiVersion: 'v1', ...node}));
  };

  const handle = async (request: IncomingMessage, response: ServerResponse) => {
    if (mode === 'refuse') return void request.socket.destroy();
    if (mode === 'mute') return;
    if (mode === 'garbage') return void response.end('<html>It works!</html>\n');
    if (mode === 'busy') return status(response, 429, 'too many requests', {'retry-after': '1'});
    if (mode === 'error') return status(response, 500, 'etcdserver: request timed out');
    const token = request.headers.authorization?.replace('Bearer ', '') ?? '';
    if (tokens.size > 0 && !tokens.has(token)) return status(response, 401, 'Unauthorized');
    const {pathname, searchParams} = new URL(request.url ?? '/', 'http://kubernetes');
    const patched = /^\/api\/v1\/nodes\/([^/]+)\/status$/.exec(pathname)?.[1];
    if (request.method === 'GET' && pathname === '/api/v1/nodes')
      return searchParams.get('watch') === 'true'
        ? watch(searchParams, response)
        : list(searchParams, response);
    if (request.method === 'PATCH' && patched !== undefined)
      return patch(decodeURIComponent(patched), request, response);
    // As the role in conf/kubernetes: nothing else is allowed.
    status(response, 403, `${request.method} ${pathname} is forbidden`);
  };

  const listener = (request: IncomingMessage, response: ServerResponse) => {
    response.on('error', () => {});
    void handle(request, response);
  };
  const server =
    certificates === undefined
      ? http.createServer(listener)
      : https.createServer(
          {
            ca: readFileSync(certificates.ca),
            cert: readFileSync(certificates.cert),
            key: readFileSync(certificates.key),
            requestCert: true,
            rejectUnauthorized: true,
          },
          listener,
        );
  server.on('connection', (socket) => {
    sockets.add(socket);
    socket.on('error', () => {});
    socket.once('close', () => sockets.delete(socket));
  });
  await new Promise<void>((resolve) => server.listen(port, '127.0.0.1', resolve));
  const reset = () => {
    for (const socket of sockets) socket.destroy();
  };
  t.teardown(() => {
    reset();
    server.close();
  });
  const nodeNamed = (name: string) => {
    const node = nodes.get(name);
    if (node === undefined) throw new Error(`no node ${name}`);
    return node;
  };
  return {
    url: `${certificates === undefined ? 'http' : 'https'}://127.0.0.1:${(server.address() as AddressInfo).port}`,
    tokens,
    counts,
    patches,
    addNode(name, {podCIDRs = [], annotations = {}} = {}) {
      const node: ApiObject = {
        metadata: {
          name,
          resourceVersion: '',
          creationTimestamp: '2026-01-02T03:04:05Z',
          annotations: {'node.alpha.kubernetes.io/ttl': '0', ...annotations},
          managedFields: [
            {manager: 'kubelet', operation: 'Update', fieldsV1: {'f:metadata': {'f:annotations': {}}}},
          ],
        },
        spec: podCIDRs.length > 0 ? {podCIDR: podCIDRs[0]!, podCIDRs} : {},
        status: {conditions: [{type: 'Ready', status: 'True', reason: 'KubeletReady'}], images: pad},
      };
      nodes.set(name, node);
      record('ADDED', node);
    },
    annotate(name, annotations) {
      merge(nodeNamed(name).metadata.annotations, annotations);
      record('MODIFIED', nodeNamed(name));
    },
    beat(name) {
      nodeNamed(name).status.conditions[0]!['lastHeartbeatTime'] = String(revision);
      record('MODIFIED', nodeNamed(name));
    },
    deleteNode(name) {
      const node = nodeNamed(name);
      nodes.delete(name);
      record('DELETED', node);
    },
    annotationsOf: (name) => nodeNamed(name).metadata.annotations,
    conditionsOf: (name) => nodeNamed(name).status.conditions,
    compact() {
      history = [];
      oldest = ++revision;
    },
    endWatches() {
      for (const each of watches) each.end();
    },
    setMode(next) {
      mode = next;
      if (next !== 'pass' && next !== 'slow' && next !== 'cut') reset();
    },
  };
}

function merge(into: Record<string, string>, from: Readonly<Record<string, string | null>>): void {
  for (const [key, value] of Object.entries(from))
    if (value === null) delete into[key];
    else into[key] = value;
}
