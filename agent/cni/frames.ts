import {frameHeaderSize, ProtocolError} from './protocol.ts';

/** A frame that came in. */
export interface Frame {
  readonly type: number;
  readonly payload: Buffer;
}

/** Puts frames together out of what a stream brings, in pieces of any size. */
export class FrameReader {
  readonly #largest: number;
  #chunks: Buffer[] = [];
  #size = 0;

  /** `largest`: bytes that a payload may have. */
  constructor(largest: number) {
    this.#largest = largest;
  }

  /** Bytes that wait for the rest of their frame. */
  get size(): number {
    return this.#size;
  }

  /** Takes what came and gives the frames that are complete now. Throws ProtocolError for one that is too large. */
  push(chunk: Buffer): readonly Frame[] {
    this.#chunks.push(chunk);
    this.#size += chunk.length;
    const frames: Frame[] = [];
    for (;;) {
      const frame = this.#next();
      if (!frame) return frames;
      frames.push(frame);
    }
  }

  #next(): Frame | undefined {
    if (this.#size < frameHeaderSize) return undefined;
    const header = this.#peek(frameHeaderSize);
    const length = header.readUInt32LE();
    if (length > this.#largest) {
      throw new ProtocolError(`a frame of ${length} bytes; ${this.#largest} are allowed`);
    }
    const end = frameHeaderSize + length;
    if (this.#size < end) return undefined;
    const all = this.#peek(this.#size);
    this.#chunks = all.length > end ? [all.subarray(end)] : [];
    this.#size -= end;
    return {type: header.readUInt8(4), payload: all.subarray(frameHeaderSize, end)};
  }

  /** The first bytes in one piece; copied only when they are in several. */
  #peek(length: number): Buffer {
    const [first] = this.#chunks;
    if (first && first.length >= length) return first;
    const joined = Buffer.concat(this.#chunks);
    this.#chunks = [joined];
    return joined;
  }
}
