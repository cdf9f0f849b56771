import {closeSync, fstatSync, openSync, statSync} from 'node:fs';
import {connect, type Socket} from 'node:net';

/** What a client of the agent says, field by field, so that a test can say something else. */
export interface WarmCall {
  readonly socket: string;
  readonly name: string;
  readonly release: string;
  readonly env: Readonly<Record<string, string>>;
  readonly stdin: string;
  readonly cwd?: string;
  readonly umask?: number;
  readonly version?: number;
  readonly pid?: number;
  readonly fd?: number;
  readonly device?: bigint;
  readonly inode?: bigint;
  readonly namespaces?: Partial<Record<'net' | 'mnt' | 'pid' | 'user', bigint>>;
}

export interface WarmReply {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** The agent does not serve the call. */
export class RefusedError extends Error {
  override readonly name = 'RefusedError';
}

/** The payload of a request; opens CNI_NETNS, which `close` closes. */
export function encodeRequest(call: WarmCall): {readonly payload: Buffer; readonly close: () => void} {
  const path = call.env['CNI_NETNS'];
  let fd = -1;
  let stat = {dev: 0n, ino: 0n};
  if (path !== undefined && path !== '') {
    try {
      fd = openSync(path, 'r');
      stat = fstatSync(fd, {bigint: true});
    } catch {}
  }
  const fixed = Buffer.alloc(64);
  fixed.writeUInt16LE(call.version ?? 1, 0);
  fixed.writeUInt16LE(call.umask ?? process.umask(), 2);
  fixed.writeUInt32LE(call.pid ?? process.pid, 4);
  fixed.writeInt32LE(call.fd ?? fd, 8);
  fixed.writeBigUInt64LE(call.device ?? stat.dev, 16);
  fixed.writeBigUInt64LE(call.inode ?? stat.ino, 24);
  for (const [i, kind] of (['net', 'mnt', 'pid', 'user'] as const).entries()) {
    const inode = call.namespaces?.[kind] ?? statSync(`/proc/self/ns/${kind}`, {bigint: true}).ino;
    fixed.writeBigUInt64LE(inode, 32 + 8 * i);
  }
  const env = Object.entries(call.env).map(([key, value]) => `${key}=${value}\0`);
  const blobs = [call.release, call.name, call.cwd ?? '/', env.join(''), call.stdin].map(encodeBlob);
  return {
    payload: Buffer.concat([fixed, ...blobs]),
    close: () => {
      if (fd >= 0) closeSync(fd);
    },
  };
}

function encodeBlob(text: string): Buffer {
  const bytes = Buffer.from(text);
  const length = Buffer.alloc(4);
  length.writeUInt32LE(bytes.length);
  return Buffer.concat([length, bytes]);
}

export function encodeFrame(type: number, payload: Uint8Array = new Uint8Array()): Buffer {
  const header = Buffer.alloc(8);
  header.writeUInt32LE(payload.length);
  header.writeUInt8(type, 4);
  return Buffer.concat([header, payload]);
}

/** Calls a plugin as the native client does. Throws RefusedError with the agent's reason. */
export async function callWarm(call: WarmCall): Promise<WarmReply> {
  const connection = await openWarm(call.socket);
  const {payload, close} = encodeRequest(call);
  try {
    connection.socket.write(encodeFrame(1, payload));
    const first = await connection.next();
    if (first.type === 5) throw new RefusedError(first.payload.toString());
    if (first.type !== 2) throw new Error(`a frame of type ${first.type} instead of ready`);
    connection.socket.write(encodeFrame(3));
    const {type, payload: answer} = await connection.next();
    if (type !== 4) throw new Error(`a frame of type ${type} instead of an answer`);
    const length = answer.readUInt32LE(4);
    return {
      code: answer.readInt32LE(0),
      stdout: answer.toString('utf8', 8, 8 + length),
      stderr: answer.toString('utf8', 12 + length),
    };
  } finally {
    close();
    connection.socket.destroy();
  }
}

/** A connection that gives one frame after the other. */
export interface WarmConnection {
  readonly socket: Socket;
  next(): Promise<{readonly type: number; readonly payload: Buffer}>;
}

export async function openWarm(path: string): Promise<WarmConnection> {
  const socket = connect(path);
  const {promise: connected, resolve: onConnect, reject: onError} = Promise.withResolvers<void>();
  socket.once('connect', onConnect).once('error', onError);
  await connected;
  let bytes = Buffer.alloc(0);
  let ended: Error | undefined;
  let wake: (() => void) | undefined;
  socket.on('data', (chunk: Buffer) => {
    bytes = Buffer.concat([bytes, chunk]);
    wake?.();
  });
  const end = (error?: Error) => {
    ended ??= error ?? new Error('end of file');
    wake?.();
  };
  socket.on('error', end).on('end', () => end());
  return {
    socket,
    async next() {
      for (;;) {
        const length = bytes.length >= 8 ? 8 + bytes.readUInt32LE() : Infinity;
        if (bytes.length >= length) {
          const frame = {type: bytes.readUInt8(4), payload: bytes.subarray(8, length)};
          bytes = bytes.subarray(length);
          return frame;
        }
        if (ended) throw ended;
        await new Promise<void>((resolve) => (wake = resolve));
      }
    },
  };
}
