// elf.h
const SHT_SYMTAB = 2;
const sectionHeaderSize = 64;
const symbolSize = 24;
/** `absl::(anonymous namespace)::synch_deadlock_detection`, an OnDeadlockCycle: 0 is ignore, 1 report, 2 abort. */
const mode = '_ZN4absl12_GLOBAL__N_124synch_deadlock_detectionE';
const ignore = 0;

interface Section {
  readonly type: number;
  readonly address: number;
  readonly offset: number;
  readonly size: number;
  readonly link: number;
}

/**
 * Node's library Abseil is built with a debugging aid: for every lock it keeps a graph of the order in which locks are taken,
 * 1 MB of which each process fills at its start. This makes it do what it does in other release builds: nothing. Gives
 * `false`, and leaves the image alone, where there is no such aid.
 */
export function ignoreLockOrder(image: Buffer): boolean {
  const sections = readSections(image);
  const address = findSymbol(image, sections, mode);
  const section = sections.find(
    (each) => address !== undefined && each.address <= address && address < each.address + each.size,
  );
  if (address === undefined || section === undefined) return false;
  const at = section.offset + address - section.address;
  const current = image.readUInt32LE(at);
  if (current !== 1 && current !== 2) return false;
  image.writeUInt32LE(ignore, at);
  return true;
}

function readSections(image: Buffer): readonly Section[] {
  if (image.toString('latin1', 0, 6) !== '\x7fELF\x02\x01') return [];
  const start = Number(image.readBigUInt64LE(40));
  return Array.from({length: image.readUInt16LE(60)}, (_, i) => {
    const at = start + i * sectionHeaderSize;
    return {
      type: image.readUInt32LE(at + 4),
      address: Number(image.readBigUInt64LE(at + 16)),
      offset: Number(image.readBigUInt64LE(at + 24)),
      size: Number(image.readBigUInt64LE(at + 32)),
      link: image.readUInt32LE(at + 40),
    };
  });
}

/** The address of a symbol of the table that `strip` takes away. */
function findSymbol(image: Buffer, sections: readonly Section[], name: string): number | undefined {
  const symbols = sections.find(({type}) => type === SHT_SYMTAB);
  const strings = symbols && sections[symbols.link];
  if (!strings) return undefined;
  const found = image.indexOf(Buffer.from(`\0${name}\0`), strings.offset);
  if (found < 0 || found >= strings.offset + strings.size) return undefined;
  const nameOffset = found + 1 - strings.offset;
  for (let at = symbols.offset; at < symbols.offset + symbols.size; at += symbolSize) {
    if (image.readUInt32LE(at) === nameOffset) return Number(image.readBigUInt64LE(at + 8));
  }
  return undefined;
}
