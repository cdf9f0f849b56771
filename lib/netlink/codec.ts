import {IPv4, IPv6} from 'ip-num';
import type {Ip} from '../ip/address.ts';
import {ipBytes} from '../ip/address.ts';
import type {Writer} from './writer.ts';

// Every architecture that Node's netlink addon is built for is little endian, so "host order" is little endian here.

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
export const text: Codec<string> = {
  put: (w, value) => w.append(Buffer.from(value)),
  get: (b, start, end) => string.get(b, start, end),
};

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
