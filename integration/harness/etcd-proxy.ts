import http from 'node:http';
import type {AddressInfo, Socket} from 'node:net';
import type {ExecutionContext} from 'ava';

/**
 * What a proxy does to what goes through it: `pass` nothing; `refuse` resets connections; `mute` takes requests and
 * never answers; `garbage` answers what is no JSON; `slow` lets a byte a time through; `cut` ends answers in the middle.
 */
export type ProxyMode = 'pass' | 'refuse' | 'mute' | 'garbage' | 'slow' | 'cut';

export interface Proxy {
  readonly url: string;
  /** For connections from now on; those that are open are reset. */
  set(mode: ProxyMode): void;
}

/** A proxy in front of an HTTP server, closed when the test ends. The first `silentWatches` watches tell of nothing. */
export async function startProxy(
  t: ExecutionContext,
  target: string,
  {silentWatches = 0}: {readonly silentWatches?: number} = {},
): Promise<Proxy> {
  let mode: ProxyMode = 'pass';
  let silent = silentWatches;
  const sockets = new Set<Socket>();
  const server = http.createServer((request, response) => {
    if (mode === 'refuse') return void request.socket.destroy();
    if (mode === 'mute') return;
    if (mode === 'garbage') return void response.end('<html>Bad gateway</html>\n');
    const isSilent = request.url === '/v3/watch' && silent-- > 0;
    const {method, headers} = request;
    const onward = http.request(new URL(request.url ?? '/', target), {method, headers}, (answer) => {
      response.writeHead(answer.statusCode ?? 502, answer.headers);
      let passed = 0;
      answer.on('data', (chunk: Buffer) => {
        passed++;
        if (isSilent && passed > 1) return;
        if (mode === 'cut') {
          response.write(chunk.subarray(0, chunk.length / 2));
          response.destroy();
        } else if (mode === 'slow') trickle(chunk);
        else response.write(chunk);
      });
      const trickle = (chunk: Buffer) => {
        for (const [i, byte] of chunk.entries())
          setTimeout(() => response.write(Buffer.of(byte)), 20 * i).unref();
      };
      answer.on('end', () => mode === 'slow' || response.end());
      answer.on('error', () => response.destroy());
    });
    onward.on('error', () => response.destroy());
    response.on('close', () => onward.destroy());
    request.pipe(onward);
  });
  server.on('connection', (socket) => {
    sockets.add(socket);
    socket.on('error', () => {});
    socket.once('close', () => sockets.delete(socket));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const reset = () => {
    for (const socket of sockets) socket.destroy();
  };
  t.teardown(() => {
    reset();
    server.close();
  });
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    set(next) {
      mode = next;
      reset();
    },
  };
}
