import {closeSync, constants, openSync, readSync, writeSync} from 'node:fs';
import type {Bytes} from './table.ts';

/** What is in the file is not what an index must have. */
export class IndexError extends Error {
  override readonly name = 'IndexError';
}

const blockSize = 8192;
/** Of an index, see index.ts. */
const headerSize = 128;

interface Block {
  readonly bytes: Buffer;
  /** What of it is newer than the file: from, to. */
  dirty: [number, number] | undefined;
}

/**
 * The file of an index, read by blocks and only once; what is written is in the file after `flush`. Nobody else may write to it
 * meanwhile. Throws like node:fs where it cannot be opened.
 */
export class IndexFile implements Bytes {
  readonly #fd: number;
  readonly #blocks = new Map<number, Block>();

  constructor(path: string) {
    this.#fd = openSync(path, constants.O_RDWR);
  }

  read(offset: number, length: number): Buffer {
    const first = Math.floor(offset / blockSize);
    const from = offset - first * blockSize;
    if (from + length <= blockSize) return part(this.#block(first), from, length);
    const parts: Buffer[] = [];
    for (let at = offset; at < offset + length;) {
      const number = Math.floor(at / blockSize);
      const start = at - number * blockSize;
      const size = Math.min(blockSize - start, offset + length - at);
      parts.push(part(this.#block(number), start, size));
      at += size;
    }
    return Buffer.concat(parts);
  }

  write(offset: number, bytes: Buffer): void {
    for (let done = 0; done < bytes.length;) {
      const number = Math.floor((offset + done) / blockSize);
      const from = offset + done - number * blockSize;
      const size = Math.min(blockSize - from, bytes.length - done);
      const block = this.#block(number);
      bytes.copy(part(block, from, size), 0, done);
      const [start, end] = block.dirty ?? [from, from + size];
      block.dirty = [Math.min(start, from), Math.max(end, from + size)];
      done += size;
    }
  }

  /** The header last: it says what all else is valid for. */
  flush(): void {
    for (const [number, block] of [...this.#blocks].sort(([a], [b]) => b - a)) {
      if (!block.dirty) continue;
      const [from, to] = block.dirty;
      block.dirty = undefined;
      const middle = number === 0 ? Math.min(Math.max(from, headerSize), to) : from;
      this.#put(block, number, [middle, to]);
      this.#put(block, number, [from, middle]);
    }
  }

  #put({bytes}: Block, number: number, [from, to]: readonly [number, number]): void {
    for (let at = from; at < to;) at += writeSync(this.#fd, bytes, at, to - at, number * blockSize + at);
  }

  /** Without `flush` before, what was written is lost. */
  close(): void {
    closeSync(this.#fd);
  }

  #block(number: number): Block {
    let block = this.#blocks.get(number);
    if (block === undefined) {
      const bytes = Buffer.allocUnsafe(blockSize);
      const size = readSync(this.#fd, bytes, 0, blockSize, number * blockSize);
      block = {bytes: bytes.subarray(0, size), dirty: undefined};
      this.#blocks.set(number, block);
    }
    return block;
  }
}

/** Shares memory with the block. */
function part({bytes}: Block, from: number, size: number): Buffer {
  if (from + size > bytes.length) throw new IndexError('the index is cut short');
  return bytes.subarray(from, from + size);
}
