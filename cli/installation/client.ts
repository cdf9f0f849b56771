/** Where a client finds the agent, what it executes without one, and which build it belongs to. */
export interface ClientConfiguration {
  /** The agent's socket for CNI calls. */
  readonly socket: string;
  /** The standalone weft, as the host calls it. */
  readonly program: string;
  /** See `formatTrailer`. */
  readonly trailer: string;
}

/** `struct configuration` of client/weft-client.c: the sizes of its fields, each with a zero at its end. */
const fields = {magic: 32, socket: 108, program: 788, release: 96} as const;
const magic = 'weft client configuration 1';

/** Where `weft agent` listens for CNI calls unless its configuration says otherwise. */
export const defaultSocket = '/run/weft/cni.sock';

/**
 * The file that stands for one plugin: the compiled client, told what it has to know, with the build's trailer at
 * its end as in a stub. Throws a sentence for paths that do not fit.
 */
export function makeClient(template: Buffer, {socket, program, trailer}: ClientConfiguration): Buffer {
  const start = template.indexOf(`${magic}\0`);
  if (start < 0 || template.indexOf(`${magic}\0`, start + 1) >= 0)
    throw new Error('the native client in this build of weft is damaged: build it again');
  const client = Buffer.concat([template, Buffer.from(trailer)]);
  let at = start + fields.magic;
  at += put(client, at, {what: 'the socket', text: checkPath('the socket', socket), room: fields.socket});
  at += put(client, at, {
    what: 'the program',
    text: checkPath('the program', program),
    room: fields.program,
  });
  put(client, at, {what: 'the release', text: trailer, room: fields.release});
  return client;
}

function checkPath(what: string, path: string): string {
  // It ends up in JSON that the client writes itself.
  if (path.startsWith('/') && !/\p{Cc}/u.test(path)) return path;
  throw new Error(`${what} ${JSON.stringify(path)} is not an absolute path without control characters`);
}

function put(
  client: Buffer,
  at: number,
  {what, text, room}: {readonly what: string; readonly text: string; readonly room: number},
): number {
  const length = Buffer.byteLength(text);
  if (length >= room)
    throw new Error(`${what} ${text} is too long for the native client: ${length} bytes of ${room - 1}`);
  client.fill(0, at, at + room);
  client.write(text, at);
  return room;
}
