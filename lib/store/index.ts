/*
 * The index of one network's directory: which addresses are taken and by whom, so that no verb has to open
 * every reservation. It is derived and may vanish at any time.
 *
 *   0    magic             8 bytes
 *   8    device, inode     of the directory, u64 each
 *   24   mtime, ctime      of the directory, in ns, i64 each: what makes the index valid
 *   40   boot id           36 bytes of text: after a power failure nothing says in what order bytes arrived
 *   80   holders           slots, slots ever used: u32 each
 *   88   pages             slots, slots ever used: u32 each
 *   128  table of holders  8 bytes hash of the holder -> 16 bytes address
 *   …    table of pages    16 bytes address with its last byte zero -> 32 bytes, one bit per address
 *
 * An IPv4 address is kept as ::ffff:a.b.c.d.
 */
import {IPv6} from 'ip-num';
import type {Ip} from '../ip/address.ts';
import {
  bitOf,
  bytesOf,
  hashOf,
  ipOf,
  isSet,
  keyOf,
  numberOf,
  pageKey,
  pageOf,
  pageSize,
  withBit,
} from './index-keys.ts';
import {Table, tableBytes} from './table.ts';
import type {Bytes, Entry} from './table.ts';

const magic = Buffer.from('weftidx1');
const headerSize = 128;
const holderSizes = {keySize: 8, valueSize: 16};
const pageSizes = {keySize: 16, valueSize: pageSize};

/** What the index was made of; it is valid while the directory looks the same. */
export interface Stamp {
  readonly device: bigint;
  readonly inode: bigint;
  readonly mtimeNs: bigint;
  readonly ctimeNs: bigint;
  readonly bootId: string;
}

/** One address in use; without `holder` where nobody can tell whose it is. */
export interface IndexEntry {
  readonly ip: Ip;
  /** As `formatHolder` gives it. */
  readonly holder?: string;
}

export class Index {
  readonly #bytes: Bytes;
  readonly #holders: Table;
  readonly #pages: Table;

  /** `bytes` must hold an index: one that `buildIndex` made or that `readStamp` recognised. */
  constructor(bytes: Bytes) {
    this.#bytes = bytes;
    const holders = {offset: headerSize, capacity: this.#count(80), ...holderSizes};
    const pages = {
      offset: headerSize + tableBytes(holders),
      capacity: this.#count(88),
      ...pageSizes,
    };
    this.#holders = new Table(bytes, holders);
    this.#pages = new Table(bytes, pages);
  }

  /** Addresses whose holder has the same hash as this one: read the file before believing it. */
  find(holder: string): Ip[] {
    return this.#holders.find(hashOf(holder)).map(({value}) => ipOf(value));
  }

  has(ip: Ip): boolean {
    const page = this.#findPage(keyOf(ip));
    return page !== undefined && isSet(page.value, bitOf(ip));
  }

  add({ip, holder}: IndexEntry): void {
    if (holder !== undefined) {
      this.#grow(84, this.#holders.add(hashOf(holder), bytesOf(keyOf(ip))));
    }
    const page = this.#findPage(keyOf(ip));
    if (page) {
      this.#pages.replace(page, withBit(page.value, bitOf(ip), 1));
    } else {
      const bits = withBit(Buffer.alloc(pageSizes.valueSize), bitOf(ip), 1);
      this.#grow(92, this.#pages.add(pageKey(keyOf(ip)), bits));
    }
  }

  remove({ip, holder}: IndexEntry): void {
    const address = bytesOf(keyOf(ip));
    const entry =
      holder === undefined
        ? undefined
        : this.#holders.find(hashOf(holder)).find(({value}) => value.equals(address));
    if (entry) this.#grow(84, -this.#holders.remove(entry));
    const page = this.#findPage(keyOf(ip));
    if (!page) return;
    const bits = withBit(page.value, bitOf(ip), 0);
    if (bits.some((byte) => byte !== 0)) this.#pages.replace(page, bits);
    else this.#grow(92, -this.#pages.remove(page));
  }

  /** The first address from `from` to `to`, both included, that is not in use. */
  nextFree(from: Ip, to: Ip): Ip | undefined {
    const last = keyOf(to);
    for (let key = keyOf(from); key <= last; key = pageOf(key) + 256n) {
      const page = this.#findPage(key);
      if (!page) return ipOf(bytesOf(key));
      const base = pageOf(key);
      const end = last - base < 255n ? Number(last - base) : 255;
      for (let bit = Number(key - base); bit <= end; bit++) {
        if (!isSet(page.value, bit)) return ipOf(bytesOf(base + BigInt(bit)));
      }
    }
    return undefined;
  }

  /** The addresses from `from` to `to`, both included, that are in use, in no order. */
  listUsed(from: Ip, to: Ip): Ip[] {
    return this.#bitsUsed(from, to, (base, bit) => ipOf(bytesOf(base + BigInt(bit))));
  }

  /** How many addresses from `from` to `to`, both included, are in use. */
  countUsed(from: Ip, to: Ip): number {
    return this.#bitsUsed(from, to, () => true).length;
  }

  /** How many addresses are in use. */
  countAll(): number {
    return this.countUsed(new IPv6(0n), new IPv6((1n << 128n) - 1n));
  }

  #bitsUsed<T>(from: Ip, to: Ip, look: (base: bigint, bit: number) => T): T[] {
    const [first, last] = [keyOf(from), keyOf(to)];
    const used: T[] = [];
    for (const {key, value} of this.#pages.list()) {
      const base = numberOf(key);
      if (base + 255n < first || base > last) continue;
      const end = last - base < 255n ? Number(last - base) : 255;
      for (let bit = first > base ? Number(first - base) : 0; bit <= end; bit++) {
        if (isSet(value, bit)) used.push(look(base, bit));
      }
    }
    return used;
  }

  /** Addresses whose holder is none of `holders`; an address that nobody can be named for is left out. */
  listOthers(holders: Iterable<string>): Ip[] {
    const known = new Set([...holders].map((holder) => hashOf(holder).toString('latin1')));
    return this.#holders
      .list()
      .filter(({key}) => !known.has(key.toString('latin1')))
      .map(({value}) => ipOf(value));
  }

  /** Whether so many slots were used that look-ups would become slow: time to build it anew. */
  get isWorn(): boolean {
    const worn = (at: number) => this.#count(at + 4) > 0.75 * this.#count(at);
    return worn(80) || worn(88);
  }

  writeStamp({device, inode, mtimeNs, ctimeNs, bootId}: Stamp): void {
    const header = this.#bytes.read(0, 80);
    header.writeBigUInt64LE(device, 8);
    header.writeBigUInt64LE(inode, 16);
    header.writeBigInt64LE(mtimeNs, 24);
    header.writeBigInt64LE(ctimeNs, 32);
    header.fill(0, 40, 80).write(bootId, 40, 36, 'latin1');
    this.#bytes.write(0, header);
  }

  #findPage(key: bigint): Entry | undefined {
    return this.#pages.find(pageKey(key))[0];
  }

  #count(at: number): number {
    return this.#bytes.read(at, 4).readUInt32LE();
  }

  #grow(at: number, by: number): void {
    if (by === 0) return;
    const count = Buffer.alloc(4);
    count.writeUInt32LE(this.#count(at) + by);
    this.#bytes.write(at, count);
  }
}

/** The stamp of an index, or `undefined` where the bytes are not an index of this version. */
export function readStamp(bytes: Bytes): Stamp | undefined {
  const header = bytes.read(0, headerSize);
  if (!header.subarray(0, magic.length).equals(magic)) return undefined;
  return {
    device: header.readBigUInt64LE(8),
    inode: header.readBigUInt64LE(16),
    mtimeNs: header.readBigInt64LE(24),
    ctimeNs: header.readBigInt64LE(32),
    bootId: header.toString('latin1', 40, 76),
  };
}

/** The bytes of an index of these addresses, with room for more and without a stamp. */
export function buildIndex(entries: readonly IndexEntry[]): Buffer {
  const pages = new Map<bigint, Buffer>();
  for (const {ip} of entries) {
    const page = keyOf(ip) >> 8n;
    pages.set(page, withBit(pages.get(page) ?? Buffer.alloc(pageSizes.valueSize), bitOf(ip), 1));
  }
  const holders = {capacity: capacityFor(entries.length), ...holderSizes};
  const slots = {capacity: capacityFor(pages.size), ...pageSizes};
  const image = Buffer.alloc(headerSize + tableBytes(holders) + tableBytes(slots));
  magic.copy(image);
  image.writeUInt32LE(holders.capacity, 80);
  image.writeUInt32LE(slots.capacity, 88);

  const bytes = memoryBytes(image);
  const holderTable = new Table(bytes, {offset: headerSize, ...holders});
  const pageTable = new Table(bytes, {offset: headerSize + tableBytes(holders), ...slots});
  let held = 0;
  for (const {ip, holder} of entries) {
    if (holder !== undefined) held += holderTable.add(hashOf(holder), bytesOf(keyOf(ip)));
  }
  for (const [page, bits] of pages) pageTable.add(bytesOf(page << 8n), bits);
  image.writeUInt32LE(held, 84);
  image.writeUInt32LE(pages.size, 92);
  return image;
}

export function memoryBytes(image: Buffer): Bytes {
  return {
    read: (offset, length) => image.subarray(offset, offset + length),
    write: (offset, bytes) => void bytes.copy(image, offset),
  };
}

function capacityFor(entries: number): number {
  return 2 ** Math.ceil(Math.log2(Math.max(256, 2.5 * entries)));
}
