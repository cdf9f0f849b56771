import {spawnSync} from 'node:child_process';
import {mkdtempSync, readFileSync, rmSync, writeFileSync} from 'node:fs';
import {createServer, type Server, type Socket} from 'node:net';
import {tmpdir} from 'node:os';
import path from 'node:path';
import type {ExecutionContext} from 'ava';
import {compileClient, hostCompiler} from '../../build/client.ts';
import {makeClient} from '../../cli/installation/client.ts';
import {formatTrailer} from '../../cli/release.ts';
import {repository} from './paths.ts';

/*
 * The native client as it is compiled for a release, with a stand-in for the standalone weft that says what it was
 * executed with, and agents that behave in any way.
 */

export const release = {version: '9.9.9', id: '0123456789abcdef'};

export interface TestClient {
  readonly folder: string;
  /** Where the client looks for its agent. */
  readonly socket: string;
  /** The client under the name `bridge`. */
  readonly file: string;
  /** What the stand-in says when it is executed for a call of `file`. */
  standalone(stdin: string, more?: {readonly command?: string; readonly file?: string}): string;
}

/** What the stand-in prints of its environment: enough to see that all of it arrived. */
const standIn = `#!/bin/sh
printf 'standalone %s|%s|%s|' "$*" "$CNI_COMMAND" "$MARK"
exec cat
`;

let compiled: Buffer | undefined;

/** Compiles the client as the build does. Throws what the build would say. */
function getTemplate(folder: string): Buffer {
  if (compiled !== undefined) return compiled;
  const output = path.join(folder, 'template');
  const obstacle = compileClient({output});
  if (obstacle !== undefined) throw new Error(obstacle);
  compiled = readFileSync(output);
  return compiled;
}

/** Makes a client in a folder of its own, under the name `bridge`. */
export function makeTestClient(
  t: ExecutionContext,
  {template}: {readonly template?: Buffer} = {},
): TestClient {
  // Not below a long TMPDIR: the path of a socket has 107 bytes.
  const folder = mkdtempSync(path.join(tmpdir().length < 60 ? tmpdir() : '/tmp', 'weft-client-'));
  t.teardown(() => rmSync(folder, {recursive: true, force: true}));
  const [socket, file, program] = ['cni.sock', 'bridge', 'weft'].map((name) => path.join(folder, name)) as [
    string,
    string,
    string,
  ];
  const client = makeClient(template ?? getTemplate(folder), {
    socket,
    program,
    trailer: formatTrailer(release),
  });
  writeFileSync(file, client, {mode: 0o755});
  writeFileSync(program, standIn, {mode: 0o755});
  return {
    folder,
    socket,
    file,
    standalone: (stdin, more = {}) =>
      `standalone --plugin ${more.file ?? file}|${more.command ?? 'ADD'}|mark|${stdin}`,
  };
}

/** The environment of a call that a client hands to its agent. */
export const callEnv = {
  CNI_COMMAND: 'ADD',
  CNI_CONTAINERID: 'container',
  CNI_IFNAME: 'eth0',
  CNI_NETNS: '/proc/self/ns/net',
  CNI_PATH: '/nonexistent',
  MARK: 'mark',
  PATH: '/usr/bin:/bin',
} as const;

/** Starts an agent that does with each connection whatever `serve` says, until the test ends. */
export async function startAgent(
  t: ExecutionContext,
  socket: string,
  serve: (connection: Socket) => void,
): Promise<Server> {
  const connections = new Set<Socket>();
  const server = createServer({allowHalfOpen: true}, (connection) => {
    connections.add(connection);
    connection.on('close', () => connections.delete(connection));
    // A client that gave up.
    connection.on('error', () => {});
    serve(connection);
  });
  t.teardown(() => {
    for (const connection of connections) connection.destroy();
    server.close();
  });
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(socket, resolve);
  });
  return server;
}

/** Calls `onFrame` with each whole frame that comes. */
export function onFrames(connection: Socket, onFrame: (type: number, payload: Buffer) => void): void {
  let received = Buffer.alloc(0);
  connection.on('data', (chunk: Buffer) => {
    received = Buffer.concat([received, chunk]);
    while (received.length >= 8 && received.length >= 8 + received.readUInt32LE()) {
      const end = 8 + received.readUInt32LE();
      const frame = received.subarray(0, end);
      received = received.subarray(end);
      onFrame(frame.readUInt8(4), frame.subarray(8));
    }
  });
}

/** Compiles a client for tests of its memory: an ordinary program, with sanitizers where the compiler has them. */
export function compileForTests(
  output: string,
  {source, defines}: {readonly source: string; readonly defines: readonly string[]},
): {readonly isSanitized: boolean} {
  const file = path.join(repository, source);
  const common = ['-std=gnu11', '-g', '-O1', ...defines.map((each) => `-D${each}`), file, '-o', output];
  const sanitizers = ['-fsanitize=address,undefined', '-fno-sanitize-recover=all'];
  const works = (options: readonly string[]) =>
    spawnSync(hostCompiler, [...options, ...common], {encoding: 'utf8'}).status === 0;
  if (works(sanitizers)) return {isSanitized: true};
  if (works([])) return {isSanitized: false};
  throw new Error(`${hostCompiler} cannot compile ${source}`);
}
