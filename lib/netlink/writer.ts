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
