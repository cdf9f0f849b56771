/** Bytes in a file or in memory. Reading outside of them is an error. */
export interface Bytes {
  read(offset: number, length: number): Buffer;
  write(offset: number, bytes: Buffer): void;
}

const state = {never: 0, used: 1, removed: 2} as const;
/** Slots read at a time: nearly every look-up ends within the first read. */
const chunk = 16;

export interface TableShape {
  readonly offset: number;
  /** Number of slots, a power of two. */
  readonly capacity: number;
  readonly keySize: number;
  readonly valueSize: number;
}

export interface Entry {
  readonly slot: number;
  readonly key: Buffer;
  readonly value: Buffer;
}

export function tableBytes({capacity, keySize, valueSize}: Omit<TableShape, 'offset'>): number {
  return capacity * (1 + keySize + valueSize);
}

/**
 * A hash table with open addressing in `Bytes`: finding, adding and removing touch a few hundred bytes
 * however many entries there are. A key may occur more than once. A slot is its state, the key, the value.
 */
export class Table {
  readonly #bytes: Bytes;
  readonly #shape: TableShape;
  readonly #slotSize: number;

  constructor(bytes: Bytes, shape: TableShape) {
    this.#bytes = bytes;
    this.#shape = shape;
    this.#slotSize = 1 + shape.keySize + shape.valueSize;
  }

  find(key: Buffer): Entry[] {
    const found: Entry[] = [];
    for (const {slot, state: is, key: other, value} of this.#probe(key)) {
      if (is === state.never) break;
      if (is === state.used && other.equals(key)) found.push({slot, key: other, value});
    }
    return found;
  }

  /** Returns the number of slots (0 or 1) that had never been used before. */
  add(key: Buffer, value: Buffer): number {
    for (const {slot, state: is} of this.#probe(key)) {
      if (is === state.used) continue;
      this.#bytes.write(this.#offsetOf(slot), Buffer.concat([Buffer.of(state.used), key, value]));
      return is === state.never ? 1 : 0;
    }
    throw new Error('the table is full');
  }

  replace({slot}: Entry, value: Buffer): void {
    this.#bytes.write(this.#offsetOf(slot) + 1 + this.#shape.keySize, value);
  }

  /** Returns the number of slots (0 or 1) that count as never used again. */
  remove({slot}: Entry): number {
    const next = this.#bytes.read(this.#offsetOf((slot + 1) % this.#shape.capacity), 1)[0];
    // No search goes on past a slot that was never used, so this one need not be passed through.
    const left = next === state.never ? state.never : state.removed;
    this.#bytes.write(this.#offsetOf(slot), Buffer.of(left));
    return left === state.never ? 1 : 0;
  }

  list(): Entry[] {
    const {capacity} = this.#shape;
    const all = this.#bytes.read(this.#offsetOf(0), capacity * this.#slotSize);
    const entries: Entry[] = [];
    for (let slot = 0; slot < capacity; slot++) {
      if (all[slot * this.#slotSize] === state.used) entries.push({slot, ...this.#split(all, slot)});
    }
    return entries;
  }

  *#probe(key: Buffer): Generator<Entry & {readonly state: number}> {
    const {capacity} = this.#shape;
    let slot = spread(key) & (capacity - 1);
    for (let seen = 0; seen < capacity;) {
      const count = Math.min(chunk, capacity - slot);
      const slots = this.#bytes.read(this.#offsetOf(slot), count * this.#slotSize);
      for (let i = 0; i < count; i++) {
        yield {slot: slot + i, state: slots[i * this.#slotSize]!, ...this.#split(slots, i)};
      }
      seen += count;
      slot = (slot + count) % capacity;
    }
  }

  #split(slots: Buffer, i: number): {key: Buffer; value: Buffer} {
    const start = i * this.#slotSize + 1;
    const middle = start + this.#shape.keySize;
    return {
      key: slots.subarray(start, middle),
      value: slots.subarray(middle, middle + this.#shape.valueSize),
    };
  }

  #offsetOf(slot: number): number {
    return this.#shape.offset + slot * this.#slotSize;
  }
}

/** FNV-1a with a last mix, so that keys that differ in one low bit do not crowd together. */
function spread(key: Buffer): number {
  let hash = 0x811c9dc5;
  for (const byte of key) hash = Math.imul(hash ^ byte, 0x01000193);
  hash = Math.imul(hash ^ (hash >>> 15), 0x85ebca6b);
  return (hash ^ (hash >>> 13)) >>> 0;
}
