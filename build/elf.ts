import {closeSync, fstatSync, openSync, readSync, writeSync} from 'node:fs';

// elf.h; both architectures that we build for are little-endian ELF64.
const PT_LOAD = 1;
const SHT_DYNAMIC = 6;
const SHT_NOBITS = 8;
const DT_NULL = 0n;
const DT_STRTAB = 5n;
const DT_RUNPATH = 29n;
const programHeaderSize = 56;
const sectionHeaderSize = 64;
const dynamicEntrySize = 16;
/** The smallest page size there is: what lies behind a segment up to here is mapped with it. */
const pageSize = 4096;

interface Segment {
  /** Where its header is in the file. */
  readonly header: number;
  readonly type: number;
  readonly offset: number;
  readonly address: number;
  readonly fileSize: number;
  readonly memorySize: number;
}

/**
 * Makes the loader look for the program's libraries in `runpath` first, as `patchelf --set-rpath`
 * would, in place: nothing in the file moves. The dynamic section has spare entries at its end
 * (linkers leave five), the string goes where nothing else is (`findRoom`). Throws, and
 * leaves the file alone, where there is no such room.
 */
export function setRunpath(path: string, runpath: string): void {
  const fd = openSync(path, 'r+');
  try {
    if (read(fd, 0, 6).toString('latin1') !== '\x7fELF\x02\x01') {
      throw new Error(`${path} is not a little-endian ELF64 file`);
    }
    const dynamic = readDynamicSection(fd);
    const {entries} = dynamic;
    const end = entries.findIndex(({tag}) => tag === DT_NULL);
    const spare = entries[end + 1];
    const stringTable = entries.find(({tag}) => tag === DT_STRTAB)?.value;
    if (entries.slice(0, end).some(({tag}) => tag === DT_RUNPATH))
      throw new Error(`${path} has a RUNPATH already`);
    if (spare?.tag !== DT_NULL || spare.value !== 0n || stringTable === undefined) {
      throw new Error(`${path} has no spare dynamic entry`);
    }

    const text = Buffer.from(`${runpath}\0`);
    const room = findRoom(fd, {length: text.length, above: Number(stringTable)});
    if (room === undefined) throw new Error(`${path} has no room for a RUNPATH`);
    write(fd, text, room.offset);
    growTo(fd, room.segment, room.offset + text.length - room.segment.offset);
    const entry = Buffer.alloc(dynamicEntrySize);
    entry.writeBigUInt64LE(DT_RUNPATH, 0);
    entry.writeBigUInt64LE(BigInt(room.address) - stringTable, 8);
    write(fd, entry, dynamic.offset + end * dynamicEntrySize);
  } finally {
    closeSync(fd);
  }
}

function readSegments(fd: number): readonly Segment[] {
  const header = read(fd, 0, 64);
  const start = Number(header.readBigUInt64LE(32));
  const table = read(fd, start, header.readUInt16LE(56) * programHeaderSize);
  return Array.from({length: table.length / programHeaderSize}, (_, i) => {
    const at = i * programHeaderSize;
    return {
      header: start + at,
      type: table.readUInt32LE(at),
      offset: Number(table.readBigUInt64LE(at + 8)),
      address: Number(table.readBigUInt64LE(at + 16)),
      fileSize: Number(table.readBigUInt64LE(at + 32)),
      memorySize: Number(table.readBigUInt64LE(at + 40)),
    };
  });
}

/** Lets a segment end no earlier than `size` bytes after its beginning. */
function growTo(fd: number, {header, fileSize, memorySize}: Segment, size: number): void {
  if (size <= fileSize) return;
  const sizes = Buffer.alloc(16);
  sizes.writeBigUInt64LE(BigInt(size), 0);
  sizes.writeBigUInt64LE(BigInt(memorySize + size - fileSize), 8);
  write(fd, sizes, header + 32);
}

interface Section {
  readonly type: number;
  readonly offset: number;
  readonly fileSize: number;
}

function readSections(fd: number): readonly Section[] {
  const header = read(fd, 0, 64);
  const table = read(fd, Number(header.readBigUInt64LE(40)), header.readUInt16LE(60) * sectionHeaderSize);
  return Array.from({length: table.length / sectionHeaderSize}, (_, i) => {
    const at = i * sectionHeaderSize;
    const type = table.readUInt32LE(at + 4);
    const fileSize = type === SHT_NOBITS ? 0 : Number(table.readBigUInt64LE(at + 32));
    return {type, offset: Number(table.readBigUInt64LE(at + 24)), fileSize};
  });
}

interface DynamicEntry {
  readonly tag: bigint;
  readonly value: bigint;
}

/** All entries, the spare ones behind the first DT_NULL included: the section header counts those too. */
function readDynamicSection(fd: number): {
  readonly offset: number;
  readonly entries: readonly DynamicEntry[];
} {
  for (const {type, offset, fileSize} of readSections(fd)) {
    if (type !== SHT_DYNAMIC) continue;
    const table = read(fd, offset, fileSize);
    const entries = Array.from({length: table.length / dynamicEntrySize}, (_, i) => ({
      tag: table.readBigUInt64LE(i * dynamicEntrySize),
      value: table.readBigUInt64LE(i * dynamicEntrySize + 8),
    }));
    return {offset, entries};
  }
  throw new Error('not a dynamically linked ELF file');
}

interface Room {
  readonly segment: Segment;
  readonly offset: number;
  readonly address: number;
}

/**
 * Zero bytes that are mapped and belong to nothing: the unused end of a segment (postject fills its own up to a page), or
 * what lies behind a segment in its last page.
 */
function findRoom(
  fd: number,
  {length, above}: {readonly length: number; readonly above: number},
): Room | undefined {
  const segments = readSegments(fd);
  const taken = [...segments.filter(({type}) => type !== PT_LOAD), ...readSections(fd)];
  const fileEnd = fstatSync(fd).size;
  for (const segment of segments.filter(({type}) => type === PT_LOAD)) {
    const end = segment.offset + segment.fileSize;
    const pageEnd = Math.ceil(end / pageSize) * pageSize;
    const behind =
      segment.fileSize === segment.memorySize && end + length <= Math.min(pageEnd, fileEnd) ? [end] : [];
    for (const offset of [end - length, ...behind]) {
      const address = segment.address + offset - segment.offset;
      const isTaken = [...taken, ...segments.filter((each) => each !== segment)].some(
        (other) =>
          other.fileSize > 0 && other.offset < offset + length && other.offset + other.fileSize > offset,
      );
      if (isTaken || address < above || !read(fd, offset, length).every((byte) => byte === 0)) continue;
      return {segment, offset, address};
    }
  }
  return undefined;
}

function read(fd: number, offset: number, length: number): Buffer {
  const buffer = Buffer.alloc(length);
  if (readSync(fd, buffer, 0, length, offset) !== length) throw new Error('the ELF file ends too early');
  return buffer;
}

function write(fd: number, bytes: Buffer, offset: number): void {
  if (writeSync(fd, bytes, 0, bytes.length, offset) !== bytes.length)
    throw new Error('the ELF file was not written');
}
