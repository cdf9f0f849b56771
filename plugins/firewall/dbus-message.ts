// The part of the D-Bus protocol that method calls with strings need (D-Bus specification 0.43, "Message Protocol").

/** enum of message types. */
export const messageTypes = {call: 1, reply: 2, error: 3, signal: 4} as const;

/** Header fields by number, and the type each of them has. */
const fields = {
  path: [1, 'o'],
  interface: [2, 's'],
  member: [3, 's'],
  errorName: [4, 's'],
  replySerial: [5, 'u'],
  destination: [6, 's'],
  signature: [8, 'g'],
} as const;

const littleEndian = 0x6c;
const bigEndian = 0x42;
const protocolVersion = 1;
/** The largest message the specification allows. */
const mostBytes = 1 << 27;
const fixedHeader = 16;

/** A method, and where it is. */
export interface Method {
  readonly destination: string;
  readonly path: string;
  readonly interface: string;
  readonly member: string;
}

/** A message that came. */
export interface Incoming {
  readonly type: number;
  readonly replySerial: number | undefined;
  readonly errorName: string | undefined;
  /** The first value of the body, where it is a string, a boolean or an unsigned number. */
  readonly value: string | boolean | number | undefined;
}

/** A call with strings as arguments; `serial` is a number of the caller's, from 1. */
export function formatCall(method: Method, args: readonly string[], serial: number): Buffer {
  const body = new Out();
  for (const arg of args) body.string(arg);
  const out = new Out();
  out.bytes([littleEndian, messageTypes.call, 0, protocolVersion]);
  out.u32(body.length);
  out.u32(serial);
  const list = new Out();
  for (const name of ['path', 'interface', 'member', 'destination'] as const)
    list.field(fields[name], method[name]);
  if (args.length > 0) list.field(fields.signature, 's'.repeat(args.length));
  out.u32(list.length);
  out.append(list);
  out.align(8);
  out.append(body);
  return out.buffer();
}

/** The length of the message that begins here; `undefined` while too little of it is there. Throws for what is none. */
export function messageLength(bytes: Buffer): number | undefined {
  if (bytes.length < fixedHeader) return undefined;
  const input = new In(bytes);
  const body = input.u32At(4);
  const length = fixedHeader + ((input.u32At(12) + 7) & ~7) + body;
  if (length > mostBytes) throw new Error(`a D-Bus message of ${length} bytes`);
  return length;
}

/** Reads one whole message. */
export function parseMessage(bytes: Buffer): Incoming {
  const input = new In(bytes);
  const fieldsEnd = fixedHeader + input.u32At(12);
  let replySerial: number | undefined;
  let errorName: string | undefined;
  let signature = '';
  for (input.at = fixedHeader; input.at < fieldsEnd;) {
    input.align(8);
    const number = input.u8();
    const value = input.value(input.signature());
    if (number === fields.replySerial[0] && typeof value === 'number') replySerial = value;
    if (number === fields.errorName[0] && typeof value === 'string') errorName = value;
    if (number === fields.signature[0] && typeof value === 'string') signature = value;
  }
  input.at = (fieldsEnd + 7) & ~7;
  return {type: bytes[1]!, replySerial, errorName, value: input.value(signature[0] ?? '')};
}

class Out {
  readonly #parts: Buffer[] = [];
  length = 0;

  bytes(values: readonly number[]): void {
    this.#push(Buffer.from(values));
  }

  align(to: number): void {
    this.#push(Buffer.alloc((to - (this.length % to)) % to));
  }

  u32(value: number): void {
    this.align(4);
    const bytes = Buffer.alloc(4);
    bytes.writeUInt32LE(value);
    this.#push(bytes);
  }

  string(text: string): void {
    const bytes = Buffer.from(text);
    this.u32(bytes.length);
    this.#push(bytes);
    this.bytes([0]);
  }

  signature(text: string): void {
    this.bytes([text.length, ...Buffer.from(text), 0]);
  }

  field([number, type]: readonly [number, string], text: string): void {
    this.align(8);
    this.bytes([number]);
    this.signature(type);
    if (type === 'g') this.signature(text);
    else this.string(text);
  }

  append(other: Out): void {
    this.#push(other.buffer());
  }

  buffer(): Buffer {
    return Buffer.concat(this.#parts);
  }

  #push(bytes: Buffer): void {
    this.#parts.push(bytes);
    this.length += bytes.length;
  }
}

class In {
  readonly #bytes: Buffer;
  readonly #isBig: boolean;
  at = 0;

  constructor(bytes: Buffer) {
    if (bytes[0] !== littleEndian && bytes[0] !== bigEndian) throw new Error('what came is no D-Bus message');
    this.#bytes = bytes;
    this.#isBig = bytes[0] === bigEndian;
  }

  u32At(at: number): number {
    return this.#isBig ? this.#bytes.readUInt32BE(at) : this.#bytes.readUInt32LE(at);
  }

  align(to: number): void {
    this.at = Math.ceil(this.at / to) * to;
  }

  u8(): number {
    return this.#bytes.readUInt8(this.at++);
  }

  u32(): number {
    this.align(4);
    this.at += 4;
    return this.u32At(this.at - 4);
  }

  string(): string {
    return this.#text(this.u32());
  }

  signature(): string {
    return this.#text(this.u8());
  }

  /** A value of the types that occur in headers and in the replies that are of interest. */
  value(type: string): string | boolean | number | undefined {
    if (type === 's' || type === 'o') return this.string();
    if (type === 'g') return this.signature();
    if (type === 'u') return this.u32();
    return type === 'b' ? this.u32() !== 0 : undefined;
  }

  #text(length: number): string {
    const text = this.#bytes.toString('utf8', this.at, this.at + length);
    this.at += length + 1;
    return text;
  }
}
