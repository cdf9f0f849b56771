import {createSocket, type Socket as UdpSocket} from 'node:dgram';
import {once} from 'node:events';
import {createServer, type Server, type Socket} from 'node:net';
import {ipBytes, parseIp} from '../../lib/ip/address.ts';
import {sendPacket} from '../../lib/netns/native.ts';
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
  /** Takes no new questions, answers those that came, and is closed. */
  close(): Promise<void>;
}

const receiveBufferSize = 1 << 20;

/** Takes questions on an address over UDP and TCP. Throws EADDRINUSE, EADDRNOTAVAIL and the like. */
export async function listenDns(options: ListenOptions): Promise<Listener> {
  const {address, port} = options;
  const udp = await listenUdp(options);
  try {
    const {port: bound} = udp.socket.address();
    const tcp = await listenTcp({...options, port: bound});
    let closing: Promise<void> | undefined;
    const close = async () => {
      await Promise.all([udp.close(), tcp.close()]);
    };
    return {address, port: bound, close: () => (closing ??= close())};
  } catch (error) {
    udp.socket.close();
    throw new Error(`cannot listen on ${address} port ${port} over TCP`, {cause: error});
  }
}

/** A listener that ends waits so long for more questions that the kernel has already given it. */
const quietMs = 20;
/** The most it waits for answers of other servers. */
const mostDrainMs = 5000;

interface UdpListener {
  readonly socket: UdpSocket;
  close(): Promise<void>;
}

async function listenUdp({address, port, handler}: ListenOptions): Promise<UdpListener> {
  // With reusePort a newer agent listens before this one ends, and no question is lost between them.
  const socket = createSocket({type: address.includes(':') ? 'udp6' : 'udp4', reusePort: true});
  const waiting = new Set<Promise<unknown>>();
  let isLeaving = false;
  let count = 0;
  const answer = (message: Buffer, to: number, ip: string) => {
    if (isLeaving) sendLate(socket, message, to, ip);
    else send(socket, message, to, ip);
  };
  socket.on('message', (message, {address: ip, port: from}) => {
    count++;
    const reply = handler(message, {ip, transport: 'udp'});
    if (reply instanceof Promise) {
      const late = reply
        .then(
          (found) => found && answer(found, from, ip),
          () => {},
        )
        .finally(() => waiting.delete(late));
      waiting.add(late);
    } else if (reply) answer(reply, from, ip);
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
  return {
    socket,
    async close() {
      isLeaving = true;
      if (await leaveGroup(socket)) {
        const deadline = performance.now() + mostDrainMs;
        for (let before = -1; before !== count && performance.now() < deadline;) {
          before = count;
          await pause(quietMs);
        }
        if (waiting.size > 0) await Promise.race([Promise.all(waiting), pause(mostDrainMs)]);
      }
      socket.close();
    },
  };
}

const discardPort = 9;

/**
 * Of sockets on one port the kernel gives datagrams to those that are not connected (since Linux 5.4): a socket that is connected to
 * nobody gets no more, and those it has can still be read. False where there is no way: its address is gone.
 */
function leaveGroup(socket: UdpSocket): Promise<boolean> {
  const {address} = socket.address();
  return new Promise((resolve) => {
    // Node says a failure to those who listen, and to the callback only where nobody does.
    socket.once('error', () => resolve(false));
    socket.connect(discardPort, address, (error?: Error) => resolve(error === undefined));
  });
}

/** Node sends to nobody else from a connected socket; the kernel does. */
function sendLate(socket: UdpSocket, message: Buffer, port: number, address: string): void {
  const {fd} = (socket as unknown as {readonly _handle?: {readonly fd: number}})._handle ?? {};
  const ip = parseIp(address);
  if (fd === undefined || ip === undefined) return;
  try {
    sendPacket(fd, message, ipBytes(ip), port);
  } catch {
    // The client is gone.
  }
}

const pause = (ms: number) => new Promise<void>((resolve) => void setTimeout(resolve, ms));

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
  const open = new Map<Socket, Conversation>();
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
    socket.once('close', () => {
      open.delete(socket);
      const left = perClient.get(ip)! - 1;
      if (left === 0) perClient.delete(ip);
      else perClient.set(ip, left);
    });
    open.set(socket, serve(socket, {ip, handler, idleMs}));
  });
  server.maxConnections = maxConnections;
  server.listen({host: address, port, reusePort: true});
  await once(server, 'listening');
  server.on('error', () => {});
  return {
    async close() {
      const closed = once(server, 'close');
      server.close();
      await Promise.race([Promise.all([...open.values()].map((each) => each.finish())), pause(mostDrainMs)]);
      for (const socket of open.keys()) socket.destroy();
      await closed;
    },
  };
}

const lengthSize = 2;
/** More unanswered questions than these on one connection, and it is not read until some are answered. */
const maxPending = 64;

interface Conversation {
  /** Answers what came, and ends the connection. */
  finish(): Promise<void>;
}

/** Answers the questions of one connection, several at a time (RFC 7766). */
function serve(
  socket: Socket,
  {ip, handler, idleMs}: {readonly ip: string; readonly handler: Handler; readonly idleMs: number},
): Conversation {
  let received: Buffer = Buffer.alloc(0);
  let pending = 0;
  let isEnding = false;
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
    if (isEnding && pending === 0) socket.end();
  };
  socket.on('data', (chunk: Buffer) => {
    received = received.length === 0 ? chunk : Buffer.concat([received, chunk]);
    answerAll();
  });
  return {
    async finish() {
      await pause(quietMs);
      isEnding = true;
      if (pending === 0) socket.end();
      if (!socket.closed) await once(socket, 'close').catch(() => {});
    },
  };
}
