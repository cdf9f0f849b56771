import {closeSync, fstatSync, openSync, readSync, writeSync} from 'node:fs';

// elf.h; both architectures that we build for are little-endian ELF64.
const PT_LOAD = 1;
const SHT_DYNAMIC = 6;
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
 * (linkers leave five), the string goes into the unused rest of a segment's last page. Throws, and
 * leaves the file alone, where there is no such room.
 */
export function setRunpath(path: string, runpath: string): void {
  const fd = openSync(path, 'r+');
  try {
    const segments = readSegments(fd);
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
    const room = findRoom({fd, segments, length: text.length, above: Number(stringTable)});
    if (room === undefined) throw new Error(`${path} has no room for a RUNPATH`);
    write(fd, text, room.offset);
    const sizes = Buffer.alloc(16);
    sizes.writeBigUInt64LE(BigInt(room.segment.fileSize + text.length), 0);
    sizes.writeBigUInt64LE(BigInt(room.segment.memorySize + text.length), 8);
    write(fd, sizes, room.segment.header + 32);
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
  if (header.toString('latin1', 0, 6) !== '\x7fELF\x02\x01')
    throw new Error('not a little-endian ELF64 file');
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

interface DynamicEntry {
  readonly tag: bigint;
  readonly value: bigint;
}

/** All entries, the spare ones behind the first DT_NULL included: the section header counts those too. */
function readDynamicSection(fd: number): {
  readonly offset: number;
  readonly entries: readonly DynamicEntry[];
} {
  const header = read(fd, 0, 64);
  const sections = read(fd, Number(header.readBigUInt64LE(40)), header.readUInt16LE(60) * sectionHeaderSize);
  for (let at = 0; at < sections.length; at += sectionHeaderSize) {
    if (sections.readUInt32LE(at + 4) !== SHT_DYNAMIC) continue;
    const offset = Number(sections.readBigUInt64LE(at + 24));
    const table = read(fd, offset, Number(sections.readBigUInt64LE(at + 32)));
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

/** Zero bytes behind a segment that are mapped with its last page and belong to no other segment. */
function findRoom({
  fd,
  segments,
  length,
  above,
}: {
  fd: number;
  segments: readonly Segment[];
  length: number;
  above: number;
}): Room | undefined {
  const loads = segments.filter(({type}) => type === PT_LOAD);
  for (const segment of loads) {
    const offset = segment.offset + segment.fileSize;
    const address = segment.address + segment.fileSize;
    const pageEnd = Math.ceil(offset / pageSize) * pageSize;
    const isFree =
      segment.fileSize === segment.memorySize &&
      address >= above &&
      offset + length <= pageEnd &&
      offset + length <= fstatSync(fd).size &&
      !segments.some((other) => other.offset >= offset && other.offset < offset + length) &&
      read(fd, offset, length).every((byte) => byte === 0);
    if (isFree) return {segment, offset, address};
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
