import {IPv4, IPv6} from 'ip-num';
import type {Ip} from '../ip/address.ts';
import {ipBytes} from '../ip/address.ts';
import type {Struct} from './struct.ts';

// Every architecture that Node's netlink addon is built for is little endian, so "host order" is little endian here.

/** The bytes of one or more messages while they are made. Grows as needed. */
export class Writer {
  buffer: Buffer;
  offset = 0;

  constructor(capacity = 512) {
    this.buffer = Buffer.allocUnsafe(capacity);
  }

  /** Makes room for `size` bytes and says where they begin. They are not cleared. */
  reserve(size: number): number {
    const at = this.offset;
    const end = at + size;
    if (end > this.buffer.length) {
      const larger = Buffer.allocUnsafe(Math.max(end, this.buffer.length * 2));
      this.buffer.copy(larger, 0, 0, at);
      this.buffer = larger;
    }
    this.offset = end;
    return at;
  }

  /** Zero bytes up to the next multiple of four. */
  align(): void {
    while ((this.offset & 3) !== 0) {
      const at = this.reserve(1);
      this.buffer[at] = 0;
    }
  }

  append(bytes: Uint8Array): void {
    // In two steps: making room may put another buffer in the place of this one.
    const at = this.reserve(bytes.length);
    this.buffer.set(bytes, at);
  }

  /** What was written so far; shares memory with the writer. */
  bytes(): Buffer {
    return this.buffer.subarray(0, this.offset);
  }
}

/** How one value is written to and read from the payload of an attribute. */
export interface Codec<T> {
  /** The payload is attributes itself: NLA_F_NESTED is set. */
  readonly nested?: boolean;
  /** `flag`: true is an empty attribute, false is none; `repeated`: an array is as many attributes. */
  readonly presence?: 'flag' | 'repeated';
  /** Of `repeated`: the codec of one. */
  readonly item?: Codec<unknown>;
  put(w: Writer, value: T): void;
  get(b: Buffer, start: number, end: number): T;
}

/** A value of constant size, usable in a struct too. */
export interface Fixed<T> extends Codec<T> {
  readonly size: number;
  readonly align: number;
  write(b: Buffer, value: T, at: number): void;
  read(b: Buffer, at: number): T;
}

function fixed<T>(
  size: number,
  write: (b: Buffer, value: T, at: number) => void,
  read: (b: Buffer, at: number) => T,
  align = size,
): Fixed<T> {
  return {
    size,
    align,
    write,
    read,
    put(w, value) {
      const at = w.reserve(size);
      write(w.buffer, value, at);
    },
    get(b, start, end) {
      if (end - start < size) throw new RangeError(`${end - start} bytes instead of ${size}`);
      return read(b, start);
    },
  };
}

export const u8: Fixed<number> = fixed(
  1,
  (b, v, at) => b.writeUInt8(v, at),
  (b, at) => b[at]!,
);
export const u16: Fixed<number> = fixed(
  2,
  (b, v, at) => b.writeUInt16LE(v, at),
  (b, at) => b.readUInt16LE(at),
);
export const u16be: Fixed<number> = fixed(
  2,
  (b, v, at) => b.writeUInt16BE(v, at),
  (b, at) => b.readUInt16BE(at),
);
export const u32: Fixed<number> = fixed(
  4,
  (b, v, at) => b.writeUInt32LE(v, at),
  (b, at) => b.readUInt32LE(at),
);
export const u32be: Fixed<number> = fixed(
  4,
  (b, v, at) => b.writeUInt32BE(v, at),
  (b, at) => b.readUInt32BE(at),
);
export const s32: Fixed<number> = fixed(
  4,
  (b, v, at) => b.writeInt32LE(v, at),
  (b, at) => b.readInt32LE(at),
);
export const s32be: Fixed<number> = fixed(
  4,
  (b, v, at) => b.writeInt32BE(v, at),
  (b, at) => b.readInt32BE(at),
);
export const u64: Fixed<bigint> = fixed(
  8,
  (b, v, at) => b.writeBigUInt64LE(v, at),
  (b, at) => b.readBigUInt64LE(at),
);
export const u64be: Fixed<bigint> = fixed(
  8,
  (b, v, at) => b.writeBigUInt64BE(v, at),
  (b, at) => b.readBigUInt64BE(at),
);

/** One byte, 0 or 1; any other number read is true. */
export const bool: Fixed<boolean> = fixed(
  1,
  (b, v, at) => b.writeUInt8(v ? 1 : 0, at),
  (b, at) => b[at] !== 0,
);

/** An empty attribute whose presence is the value; `false` writes nothing. */
export const flag: Codec<boolean> = {presence: 'flag', put: () => {}, get: () => true};

/** Text that ends in a zero byte; read with or without it. */
export const string: Codec<string> = {
  put(w, value) {
    const size = Buffer.byteLength(value);
    const at = w.reserve(size + 1);
    w.buffer.write(value, at, size);
    w.buffer[at + size] = 0;
  },
  get(b, start, end) {
    let stop = start;
    while (stop < end && b[stop] !== 0) stop++;
    return b.toString('utf8', start, stop);
  },
};

/** Text written without a zero byte, where the kernel counts all bytes as text (aliases, kinds); read as `string`. */
export const text: Codec<string> = {put: (w, value) => w.append(Buffer.from(value)), get: string.get};

/** Raw bytes. What is read is a copy, so that it does not keep the whole received datagram in memory. */
export const bytes: Codec<Uint8Array> = {
  put: (w, value) => w.append(value),
  get: (b, start, end) => Buffer.from(b.subarray(start, end)),
};

/** An address of either family, in network byte order; which one is told by its length. */
export const ip: Codec<Ip> = {
  put(w, value) {
    if (value instanceof IPv4) u32be.put(w, Number(value.value));
    else w.append(ipBytes(value));
  },
  get(b, start, end) {
    if (end - start === 4) return new IPv4(BigInt(b.readUInt32BE(start)));
    if (end - start === 16) return new IPv6((b.readBigUInt64BE(start) << 64n) | b.readBigUInt64BE(start + 8));
    throw new RangeError(`an address of ${end - start} bytes`);
  },
};

/** A hardware address as "aa:bb:cc:dd:ee:ff"; other lengths than six are kept. */
export const mac: Codec<string> = {
  put: (w, value) => w.append(Buffer.from(value.replaceAll(':', ''), 'hex')),
  get: (b, start, end) => b.toString('hex', start, end).replaceAll(/..(?!$)/g, '$&:'),
};

/** A nest whose members have no names: each becomes an attribute numbered 1, 2, 3…, or all of them `type`. */
export function array<T>(codec: Codec<T>, {type}: {readonly type?: number} = {}): Codec<readonly T[]> {
  return {
    nested: true,
    put(w, values) {
      let next = 1;
      for (const value of values) putAttribute(w, type ?? next++, codec, value);
    },
    get(b, start, end) {
      const out: T[] = [];
      eachAttribute(b, start, end, (_, from, to) => out.push(codec.get(b, from, to)));
      return out;
    },
  };
}

/** A row that may occur several times in one nest; its value is an array. */
export function repeated<T>(codec: Codec<T>): Codec<readonly T[]> {
  return {
    presence: 'repeated',
    item: codec,
    put(w, values) {
      for (const value of values) codec.put(w, value);
    },
    get: (b, start, end) => [codec.get(b, start, end)],
  };
}

/** Under this key a decoded object keeps the attributes its table has no row for; they are written back as they came. */
export const unknown: unique symbol = Symbol('unknown attributes');

/** Attributes without a row: whole, with their headers, where they stand in the received bytes. */
export interface Unknown {
  readonly buffer: Buffer;
  readonly starts: readonly number[];
}

/** The attributes that the table of a decoded object did not know. */
export function unknownAttributes(value: {readonly [unknown]?: Unknown}): {type: number; bytes: Buffer}[] {
  const kept = value[unknown];
  return (kept?.starts ?? []).map((at) => ({
    type: kept!.buffer.readUInt16LE(at + 2) & typeMask,
    bytes: Buffer.from(kept!.buffer.subarray(at + 4, at + kept!.buffer.readUInt16LE(at))),
  }));
}

/** One row per attribute: its number in the kernel's enum and how its payload is written. */
export type Table = Readonly<Record<string, readonly [number: number, codec: Codec<unknown>]>>;

/** The object that a table describes; every attribute may be missing. */
export type Values<T extends Table> = {
  readonly [K in keyof T]?: (T[K][1] extends Codec<infer V> ? V : never) | undefined;
} & {readonly [unknown]?: Unknown};

const nestedBit = 0x8000;
// NLA_F_NESTED and NLA_F_NET_BYTEORDER are not part of the number.
const typeMask = 0x3fff;

/** Attributes as an object, both directions, from one table. Usable as a nest in another table. */
export function attrs<T extends Table>(table: T): Codec<Values<T>> & {readonly table: T} {
  const rows = Object.entries(table);
  const byNumber: (readonly [string, Codec<unknown>] | undefined)[] = [];
  for (const [name, [number, codec]] of rows) byNumber[number] = [name, codec];
  return {
    table,
    nested: true,
    put(w, value) {
      for (const name in value) {
        const row = table[name];
        const item = (value as Readonly<Record<string, unknown>>)[name];
        if (row && item !== undefined) putRow(w, row[0], row[1], item);
      }
      const kept = value[unknown];
      if (kept) for (const at of kept.starts) putRaw(w, kept.buffer, at);
    },
    get(b, start, end) {
      const out: Record<PropertyKey, unknown> = {};
      let strange: number[] | undefined;
      let at = start;
      while (end - at >= 4) {
        const length = b[at]! | (b[at + 1]! << 8);
        if (length < 4 || at + length > end)
          throw new RangeError('an attribute runs past the end of its message');
        const row = byNumber[(b[at + 2]! | (b[at + 3]! << 8)) & typeMask];
        if (row) {
          const item = getNamed(row, b, at + 4, at + length);
          const before = row[1].presence === 'repeated' ? (out[row[0]] as unknown[] | undefined) : undefined;
          if (before) before.push(...(item as unknown[]));
          else out[row[0]] = item;
        } else {
          (strange ??= []).push(at);
        }
        at += (length + 3) & ~3;
      }
      if (strange) out[unknown] = {buffer: b, starts: strange};
      return out as Values<T>;
    },
  };
}

function getNamed(
  [name, codec]: readonly [string, Codec<unknown>],
  b: Buffer,
  start: number,
  end: number,
): unknown {
  try {
    return codec.get(b, start, end);
  } catch (error) {
    throw new RangeError(`${name}: ${error instanceof Error ? error.message : String(error)}`, {
      cause: error,
    });
  }
}

function putRow(w: Writer, number: number, codec: Codec<unknown>, value: unknown): void {
  if (codec.item) {
    for (const item of value as readonly unknown[]) putAttribute(w, number, codec.item, item);
  } else if (codec.presence !== 'flag' || value === true) {
    putAttribute(w, number, codec, value);
  }
}

/** Writes one attribute with its header and padding. */
export function putAttribute<T>(w: Writer, number: number, codec: Codec<T>, value: T): void {
  const at = w.reserve(4);
  codec.put(w, value);
  const length = w.offset - at;
  if (length > 0xffff)
    throw new RangeError(`attribute ${number} is ${length} bytes long, the largest is 65535`);
  w.buffer.writeUInt16LE(length, at);
  w.buffer.writeUInt16LE(codec.nested ? number | nestedBit : number, at + 2);
  w.align();
}

function putRaw(w: Writer, buffer: Buffer, at: number): void {
  w.append(buffer.subarray(at, at + buffer.readUInt16LE(at)));
  w.align();
}

/** Calls `visit` with the number and the payload's place of each attribute. */
export function eachAttribute(
  b: Buffer,
  start: number,
  end: number,
  visit: (number: number, from: number, to: number) => void,
): void {
  let at = start;
  while (end - at >= 4) {
    const length = b.readUInt16LE(at);
    if (length < 4 || at + length > end)
      throw new RangeError('an attribute runs past the end of its message');
    visit(b.readUInt16LE(at + 2) & typeMask, at + 4, at + length);
    at += (length + 3) & ~3;
  }
}

/** A message body: a fixed header, then attributes. Also the form of some nests (the peer of a veth). */
export interface MessageValue<H, A> {
  readonly header: H;
  readonly attributes: A;
}

/** The codec of a message body. In a nest it carries no NLA_F_NESTED: its payload does not begin with attributes. */
export function message<H, A>(
  header: Struct<H>,
  attributes: Codec<A>,
): {
  put(w: Writer, value: {readonly header?: Partial<H>; readonly attributes?: A}): void;
  get(b: Buffer, start: number, end: number): MessageValue<H, A>;
} {
  const aligned = (header.size + 3) & ~3;
  return {
    put(w, value) {
      header.putPart(w, value.header ?? {});
      w.align();
      if (value.attributes !== undefined) attributes.put(w, value.attributes);
    },
    get: (b, start, end) => ({
      header: header.get(b, start, end),
      attributes: attributes.get(b, start + aligned, end),
    }),
  };
}
