import {headerFlag, headerSize, plainUdpSize, rcode, recordType} from './constants.ts';
import {readName} from './name.ts';

/** What a client says in its OPT record (RFC 6891). */
export interface Edns {
  /** The largest datagram it takes. */
  readonly udpSize: number;
  readonly version: number;
  /** It wants signatures. */
  readonly dnssec: boolean;
}

/** A question, and what of its message the answer needs. */
export interface Query {
  readonly id: number;
  readonly opcode: number;
  readonly recursionDesired: boolean;
  readonly checkingDisabled: boolean;
  /** In lower case, as name.ts writes it. */
  readonly name: string;
  readonly type: number;
  readonly class: number;
  /** The bytes of the question, whose spelling an answer repeats. */
  readonly question: Uint8Array;
  readonly edns: Edns | undefined;
}

/** What came in: a question; or a message that gets an error; or one that gets nothing (too short, or an answer itself). */
export type Incoming =
  | {readonly kind: 'query'; readonly query: Query}
  | {readonly kind: 'error'; readonly id: number; readonly flags: number; readonly rcode: number}
  | {readonly kind: 'ignore'};

const opcodeMask = 0x7800;

/** Reads a message that a client sent. Never throws, whatever the bytes are. */
export function readQuery(message: Buffer): Incoming {
  if (message.length < headerSize) return {kind: 'ignore'};
  const id = message.readUInt16BE(0);
  const flags = message.readUInt16BE(2);
  // Answering an answer could go on for ever.
  if ((flags & headerFlag.response) !== 0) return {kind: 'ignore'};
  const failed = (code: number): Incoming => ({
    kind: 'error',
    id,
    flags: flags & (opcodeMask | headerFlag.recursionDesired),
    rcode: code,
  });
  const opcode = (flags & opcodeMask) >>> 11;
  if (opcode !== 0) return failed(rcode.notImplemented);
  if (message.readUInt16BE(4) !== 1) return failed(rcode.formatError);
  const name = readName(message, headerSize);
  // Nothing stands before the question that its name could point to.
  if (!name?.plain || name.end + 4 > message.length) return failed(rcode.formatError);
  const end = name.end + 4;
  const edns = readEdns(message, end);
  if (edns === 'broken') return failed(rcode.formatError);
  return {
    kind: 'query',
    query: {
      id,
      opcode,
      recursionDesired: (flags & headerFlag.recursionDesired) !== 0,
      checkingDisabled: (flags & headerFlag.checkingDisabled) !== 0,
      name: name.name,
      type: message.readUInt16BE(name.end),
      class: message.readUInt16BE(name.end + 2),
      question: message.subarray(headerSize, end),
      edns,
    },
  };
}

const recordHeaderSize = 10;

/** Looks for OPT among the records behind the question. */
function readEdns(message: Buffer, start: number): Edns | undefined | 'broken' {
  const count = message.readUInt16BE(6) + message.readUInt16BE(8) + message.readUInt16BE(10);
  let found: Edns | undefined;
  let at = start;
  for (let i = 0; i < count; i++) {
    const name = readName(message, at);
    if (name === undefined || name.end + recordHeaderSize > message.length) return 'broken';
    const type = message.readUInt16BE(name.end);
    if (type === recordType.OPT) {
      if (found !== undefined || name.name !== '') return 'broken';
      found = {
        udpSize: Math.max(message.readUInt16BE(name.end + 2), plainUdpSize),
        version: message[name.end + 5]!,
        dnssec: (message[name.end + 6]! & 0x80) !== 0,
      };
    }
    at = name.end + recordHeaderSize + message.readUInt16BE(name.end + 8);
    if (at > message.length) return 'broken';
  }
  return found;
}
