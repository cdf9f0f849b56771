import type {Codec} from './codec.ts';
import type {Struct} from './struct.ts';
import type {Writer} from './writer.ts';

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
