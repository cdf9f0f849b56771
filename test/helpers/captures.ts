import {readFileSync} from 'node:fs';

/** A netlink message without its header. */
export interface CapturedMessage {
  readonly type: number;
  readonly flags: number;
  readonly body: Buffer;
}

/** What was captured of some tool. */
export interface Captures {
  /** What `command` sent to the kernel. */
  readonly sentBy: (command: string) => CapturedMessage;
  /** Everything the kernel answered to `command`. */
  readonly answersTo: (command: string) => CapturedMessage[];
  /** The commands whose requests were captured. */
  readonly commands: readonly string[];
}

/** Reads a file of test/fixtures/netlink/ (see capture.sh there). */
export function readCaptures(file: string): Captures {
  const lines = readFileSync(new URL(`../fixtures/netlink/${file}`, import.meta.url), 'utf8').split('\n');
  const section = (title: string): CapturedMessage[] => {
    const from = lines.indexOf(title) + 1;
    if (from === 0) throw new Error(`nothing was captured of ${title}`);
    const messages: CapturedMessage[] = [];
    for (let i = from; /^[0-9a-f]+$/.test(lines[i] ?? ''); i++) {
      messages.push(...splitMessages(Buffer.from(lines[i]!, 'hex')));
    }
    return messages;
  };
  return {
    sentBy: (command) => section(`> ${command}`)[0]!,
    answersTo: (command) => section(`< ${command}`),
    commands: lines.filter((line) => line.startsWith('> ')).map((line) => line.slice(2)),
  };
}

/** Of `ip` and `bridge`. */
export const {sentBy, answersTo, commands: capturedCommands} = readCaptures('captures.txt');

/** The messages of a datagram. */
export function splitMessages(datagram: Buffer): (CapturedMessage & {readonly seq: number})[] {
  const messages: (CapturedMessage & {readonly seq: number})[] = [];
  for (let at = 0; at + 16 <= datagram.length; at += (datagram.readUInt32LE(at) + 3) & ~3) {
    messages.push({
      type: datagram.readUInt16LE(at + 4),
      flags: datagram.readUInt16LE(at + 6),
      seq: datagram.readUInt32LE(at + 8),
      body: datagram.subarray(at + 16, at + datagram.readUInt32LE(at)),
    });
  }
  return messages;
}

/** Clears NLA_F_NESTED, which `ip` mostly leaves out and the kernel does not ask of it. */
export function withoutNestedFlags(body: Buffer, headerBytes: number): Buffer {
  const copy = Buffer.from(body);
  clear(copy, headerBytes, copy.length);
  return copy;
}

function clear(b: Buffer, start: number, end: number): void {
  for (let at = start; end - at >= 4; at += (b.readUInt16LE(at) + 3) & ~3) {
    const type = b.readUInt16LE(at + 2);
    if ((type & 0x8000) === 0) continue;
    b.writeUInt16LE(type & 0x7fff, at + 2);
    clear(b, at + 4, at + b.readUInt16LE(at));
  }
}
