/*
 * What the client of a plugin's file and the agent say to each other, over a stream socket of the unix family. All integers
 * are little endian.
 *
 *   frame     u32 length of the payload, u8 type, 3 bytes zero, payload
 *   request   u16 version, u16 umask, u32 pid, i32 descriptor of CNI_NETNS in the client (-1: none), u32 zero,
 *             u64 device, u64 inode of that descriptor, u64 inodes of its own net, mnt, pid and user namespaces,
 *             then release, name of the plugin, cwd, environment (KEY=VALUE, each followed by a zero byte; the last may lack
 *             it), stdin: each u32 length and bytes
 *   ready     nothing; the agent will serve the call
 *   go        nothing; now it does
 *   answer    i32 exit code, u32 length and stdout, u32 length and stderr
 *   refuse    a sentence; the client executes the plugin itself
 *
 * client: request -> agent: ready | refuse -> client: go -> agent: answer. Until it sent `go` the client may give up and execute
 * the plugin itself; after it, never.
 */

export const protocolVersion = 1;

export const frameTypes = {request: 1, ready: 2, go: 3, answer: 4, refuse: 5} as const;

export const frameHeaderSize = 8;

/** Of the fields that have one size. */
const fixedSize = 64;

/** Bytes that each field may have. */
export const requestLimits = {
  release: 256,
  name: 256,
  cwd: 4096,
  env: 1 << 20,
  stdin: 1 << 20,
} as const;

export const largestRequest =
  fixedSize + Object.values(requestLimits).reduce((sum, limit) => sum + 4 + limit, 0);

export const largestAnswer = 16 << 20;

/** Inode numbers of the namespaces of a process. */
export interface NamespaceInodes {
  readonly net: bigint;
  readonly mnt: bigint;
  readonly pid: bigint;
  readonly user: bigint;
}

/** What a client asks. */
export interface WarmRequest {
  readonly umask: number;
  readonly pid: number;
  /** The client's descriptor of the file that CNI_NETNS names; undefined where it names none, or one that is not there. */
  readonly netns: {readonly fd: number; readonly device: bigint; readonly inode: bigint} | undefined;
  readonly namespaces: NamespaceInodes;
  /** The trailer of the client's file: which build of weft it belongs to. */
  readonly release: string;
  /** The plugin's name. */
  readonly name: string;
  readonly cwd: string;
  readonly env: Readonly<Record<string, string>>;
  readonly stdin: string;
}

/** What came is not of this protocol. */
export class ProtocolError extends Error {
  override readonly name = 'ProtocolError';
}

/** A whole frame. */
export function formatFrame(type: number, payload: Uint8Array = new Uint8Array()): Buffer {
  const frame = Buffer.alloc(frameHeaderSize + payload.length);
  frame.writeUInt32LE(payload.length);
  frame.writeUInt8(type, 4);
  frame.set(payload, frameHeaderSize);
  return frame;
}

/** Reads the payload of a request. Throws ProtocolError for whatever is not as it should be. */
export function parseRequest(payload: Buffer): WarmRequest {
  if (payload.length < fixedSize) throw new ProtocolError(`a request of ${payload.length} bytes`);
  const version = payload.readUInt16LE(0);
  if (version !== protocolVersion) {
    throw new ProtocolError(`version ${version} of the protocol; this agent speaks ${protocolVersion}`);
  }
  const fd = payload.readInt32LE(8);
  const inode = (index: number) => payload.readBigUInt64LE(16 + 8 * index);
  const fields = readFields(payload);
  return {
    umask: payload.readUInt16LE(2),
    pid: payload.readUInt32LE(4),
    netns: fd < 0 ? undefined : {fd, device: inode(0), inode: inode(1)},
    namespaces: {net: inode(2), mnt: inode(3), pid: inode(4), user: inode(5)},
    release: fields.release.toString(),
    name: fields.name.toString(),
    cwd: fields.cwd.toString(),
    env: parseEnv(fields.env),
    stdin: fields.stdin.toString(),
  };
}

type Fields = Record<keyof typeof requestLimits, Buffer>;

function readFields(payload: Buffer): Fields {
  const fields: Partial<Fields> = {};
  let at = fixedSize;
  for (const [name, limit] of Object.entries(requestLimits)) {
    if (at + 4 > payload.length) throw new ProtocolError(`the request ends before its ${name}`);
    const length = payload.readUInt32LE(at);
    at += 4;
    if (length > limit) throw new ProtocolError(`${name} of ${length} bytes; ${limit} are allowed`);
    if (at + length > payload.length) throw new ProtocolError(`the request ends within its ${name}`);
    fields[name as keyof Fields] = payload.subarray(at, at + length);
    at += length;
  }
  if (at !== payload.length) throw new ProtocolError(`${payload.length - at} bytes behind the request`);
  return fields as Fields;
}

/** As a process sees its own environment: of a name that is there twice the first counts, and what has no `=` is nothing. */
function parseEnv(bytes: Buffer): Record<string, string> {
  const env: Record<string, string> = {};
  for (const entry of bytes.toString().split('\0')) {
    const end = entry.indexOf('=', 1);
    if (end < 0) continue;
    const name = entry.slice(0, end);
    if (name === '__proto__' || Object.hasOwn(env, name)) continue;
    env[name] = entry.slice(end + 1);
  }
  return env;
}

/** What `runPlugin` gave. */
export interface WarmAnswer {
  readonly exitCode: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** The frame of an answer. Throws ProtocolError for one that is too large. */
export function formatAnswer({exitCode, stdout, stderr}: WarmAnswer): Buffer {
  const sizes = [Buffer.byteLength(stdout), Buffer.byteLength(stderr)] as const;
  const length = 12 + sizes[0] + sizes[1];
  if (length > largestAnswer)
    throw new ProtocolError(`an answer of ${length} bytes; ${largestAnswer} are allowed`);
  const frame = Buffer.alloc(frameHeaderSize + length);
  frame.writeUInt32LE(length);
  frame.writeUInt8(frameTypes.answer, 4);
  let at = frame.writeInt32LE(exitCode, frameHeaderSize);
  at = frame.writeUInt32LE(sizes[0], at);
  at += frame.write(stdout, at);
  at = frame.writeUInt32LE(sizes[1], at);
  frame.write(stderr, at);
  return frame;
}
