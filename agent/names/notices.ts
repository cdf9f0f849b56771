import {createServer, type Server, type Socket} from 'node:net';
import type {NameNotice, NameReply} from '../../lib/discovery/notify.ts';
import type {Logger} from '../../lib/log.ts';
import {listenOnPath, type UnixSocket} from '../unix-socket.ts';

const maxNoticeSize = 8192;
const patienceMs = 5000;

/** Where the plugin says that a file changed; it gets its answer when the names are served. */
export class NoticeServer {
  readonly #server: Server;
  readonly #open = new Set<Socket>();
  #socket: UnixSocket | undefined;

  constructor(serve: (file: string) => Promise<string | undefined>, log: Logger) {
    this.#server = createServer((connection) => {
      this.#open.add(connection);
      connection.once('close', () => this.#open.delete(connection));
      connection.on('error', () => connection.destroy());
      connection.setTimeout(patienceMs, () => connection.destroy());
      connection.setEncoding('utf8');
      let received = '';
      connection.on('data', (chunk: string) => {
        received += chunk;
        const end = received.indexOf('\n');
        if (end < 0) {
          if (received.length > maxNoticeSize) connection.destroy();
          return;
        }
        connection.pause();
        void answer(received.slice(0, end), serve, log).then((reply) =>
          connection.end(`${JSON.stringify(reply)}\n`),
        );
      });
    });
  }

  async listen(path: string): Promise<void> {
    this.#socket = await listenOnPath(this.#server, {path});
  }

  async close(): Promise<void> {
    this.#socket?.remove();
    for (const connection of this.#open) connection.destroy();
    await new Promise((resolve) => this.#server.close(resolve));
  }
}

async function answer(
  line: string,
  serve: (file: string) => Promise<string | undefined>,
  log: Logger,
): Promise<NameReply> {
  let file: unknown;
  try {
    ({file} = JSON.parse(line) as NameNotice);
  } catch {
    return {error: 'expected one line of JSON: {"file": "/run/weft/discovery/net/id:eth0.json"}'};
  }
  if (typeof file !== 'string') return {error: '"file": expected a path'};
  try {
    const error = await serve(file);
    return error === undefined ? {} : {error};
  } catch (error) {
    log.error({error, file}, 'a change of names could not be served');
    return {error: (error as Error).message};
  }
}
