import type {Codec, Fixed} from './codec.ts';
import type {Writer} from './writer.ts';

type Fields = Readonly<Record<string, Fixed<unknown>>>;
type ValuesOf<F extends Fields> = {readonly [K in keyof F]: F[K] extends Codec<infer V> ? V : never};

/** A C struct. */
export interface Struct<T> extends Fixed<T> {
  readonly offsets: Readonly<Record<keyof T, number>>;
  /** Writes it with zeros in the fields left out. */
  putPart(w: Writer, value: Partial<T>): void;
}

/**
 * A fixed struct, laid out as a C compiler does: each field at a multiple of its own alignment, the whole
 * rounded up to the largest. Padding is written as zeros. A struct that a newer kernel made longer is accepted.
 */
export function struct<F extends Fields>(fields: F): Struct<ValuesOf<F>> {
  const rows: (readonly [name: string, offset: number, codec: Fixed<unknown>])[] = [];
  let end = 0;
  let widest = 1;
  for (const [name, codec] of Object.entries(fields)) {
    end = roundUp(end, codec.align);
    rows.push([name, end, codec]);
    end += codec.size;
    widest = Math.max(widest, codec.align);
  }
  const size = roundUp(end, widest);
  return {
    size,
    align: widest,
    offsets: Object.fromEntries(rows.map(([name, offset]) => [name, offset])) as Record<keyof F, number>,
    put(w, value) {
      this.putPart(w, value);
    },
    putPart(w, value) {
      const at = w.reserve(size);
      w.buffer.fill(0, at, at + size);
      for (const [name, offset, codec] of rows) {
        const field = (value as Readonly<Record<string, unknown>>)[name];
        if (field !== undefined) codec.write(w.buffer, field, at + offset);
      }
    },
    get(b, start, limit) {
      if (limit - start < size) throw new RangeError(`a struct of ${size} bytes has only ${limit - start}`);
      return this.read(b, start);
    },
    write(b, value, at) {
      for (const [name, offset, codec] of rows) {
        const field = (value as Readonly<Record<string, unknown>>)[name];
        if (field !== undefined) codec.write(b, field, at + offset);
      }
    },
    read(b, at) {
      const out: Record<string, unknown> = {};
      for (const [name, offset, codec] of rows) out[name] = codec.read(b, at + offset);
      return out as ValuesOf<F>;
    },
  };
}

function roundUp(value: number, multiple: number): number {
  return Math.ceil(value / multiple) * multiple;
}
