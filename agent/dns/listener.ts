import {createSocket, type Socket as UdpSocket} from 'node:dgram';
import {once} from 'node:events';
import {createServer, type Server, type Socket} from 'node:net';
import {maxTcpSize} from './constants.ts';

/** Who asks, and how. */
export interface Client {
  /** Its address, as formatIp writes it. */
  readonly ip: string;
  readonly transport: 'udp' | 'tcp';
}

/** Answers a message; nothing for one that gets no answer. At once where it can: a promise costs a turn of the loop. */
export type Handler = (message: Buffer, client: Client) => Buffer | undefined | Promise<Buffer | undefined>;

export interface ListenOptions {
  readonly address: string;
  readonly port: number;
  readonly handler: Handler;
  /** A connection on which nothing comes for so long is closed. */
  readonly idleMs?: number;
  readonly maxConnections?: number;
  readonly maxConnectionsPerClient?: number;
}

export interface Listener {
  readonly address: string;
  readonly port: number;
  close(): Promise<void>;
}

const receiveBufferSize = 1 << 20;

/** Takes questions on an address over UDP and TCP. Throws EADDRINUSE, EADDRNOTAVAIL and the like. */
export async function listenDns(options: ListenOptions): Promise<Listener> {
  const {address, port} = options;
  const udp = await listenUdp(options);
  try {
    const {port: bound} = udp.address();
    const tcp = await listenTcp({...options, port: bound});
    let closing: Promise<void> | undefined;
    const close = async () => {
      udp.close();
      await tcp.close();
    };
    return {address, port: bound, close: () => (closing ??= close())};
  } catch (error) {
    udp.close();
    throw new Error(`cannot listen on ${address} port ${port} over TCP`, {cause: error});
  }
}

async function listenUdp({address, port, handler}: ListenOptions): Promise<UdpSocket> {
  // With reusePort a newer agent listens before this one ends, and no question is lost between them.
  const socket = createSocket({type: address.includes(':') ? 'udp6' : 'udp4', reusePort: true});
  socket.on('message', (message, {address: ip, port: from}) => {
    const reply = handler(message, {ip, transport: 'udp'});
    if (reply instanceof Promise)
      void reply.then(
        (late) => late && send(socket, late, from, ip),
        () => {},
      );
    else if (reply) send(socket, reply, from, ip);
  });
  socket.bind({address, port});
  await once(socket, 'listening');
  // One question more or less is not worth an exception: the client asks again.
  socket.on('error', () => {});
  try {
    socket.setRecvBufferSize(receiveBufferSize);
  } catch {
    // The system's limit is smaller: then that.
  }
  return socket;
}

function send(socket: UdpSocket, message: Buffer, port: number, address: string): void {
  // The client may be gone, or this listener.
  socket.send(message, port, address, () => {});
}

interface TcpListener {
  close(): Promise<void>;
}

async function listenTcp({
  address,
  port,
  handler,
  idleMs = 10_000,
  maxConnections = 256,
  maxConnectionsPerClient = 32,
}: ListenOptions): Promise<TcpListener> {
  const open = new Set<Socket>();
  const perClient = new Map<string, number>();
  const server: Server = createServer((socket) => {
    const ip = socket.remoteAddress ?? '';
    const count = (perClient.get(ip) ?? 0) + 1;
    // One client, slow on purpose, must not keep the others out.
    if (count > maxConnectionsPerClient) {
      socket.destroy();
      return;
    }
    perClient.set(ip, count);
    open.add(socket);
    socket.once('close', () => {
      open.delete(socket);
      const left = perClient.get(ip)! - 1;
      if (left === 0) perClient.delete(ip);
      else perClient.set(ip, left);
    });
    serve(socket, {ip, handler, idleMs});
  });
  server.maxConnections = maxConnections;
  server.listen({host: address, port, reusePort: true});
  await once(server, 'listening');
  server.on('error', () => {});
  return {
    async close() {
      for (const socket of open) socket.destroy();
      const closed = once(server, 'close');
      server.close();
      await closed;
    },
  };
}

const lengthSize = 2;
/** More unanswered questions than these on one connection, and it is not read until some are answered. */
const maxPending = 64;

/** Answers the questions of one connection, several at a time (RFC 7766). */
function serve(
  socket: Socket,
  {ip, handler, idleMs}: {readonly ip: string; readonly handler: Handler; readonly idleMs: number},
): void {
  let received: Buffer = Buffer.alloc(0);
  let pending = 0;
  const client: Client = {ip, transport: 'tcp'};
  socket.setNoDelay(true);
  socket.setTimeout(idleMs, () => socket.destroy());
  // A reset ends the connection, nothing else.
  socket.on('error', () => socket.destroy());
  const answerAll = () => {
    while (pending < maxPending && received.length >= lengthSize) {
      const size = received.readUInt16BE(0);
      if (received.length < lengthSize + size) break;
      const message = received.subarray(lengthSize, lengthSize + size);
      received = received.subarray(lengthSize + size);
      pending++;
      void Promise.resolve(handler(message, client)).then(finish, () => finish(undefined));
    }
    if (pending >= maxPending) socket.pause();
  };
  const finish = (reply: Buffer | undefined) => {
    pending--;
    if (socket.destroyed) return;
    if (reply === undefined || reply.length > maxTcpSize) {
      socket.destroy();
      return;
    }
    const length = Buffer.alloc(lengthSize);
    length.writeUInt16BE(reply.length);
    socket.write(Buffer.concat([length, reply]));
    if (socket.isPaused()) socket.resume();
    answerAll();
  };
  socket.on('data', (chunk: Buffer) => {
    received = received.length === 0 ? chunk : Buffer.concat([received, chunk]);
    answerAll();
  });
}
