// elf.h
const SHT_PROGBITS = 1;
const SHT_SYMTAB = 2;
const SHT_DYNSYM = 11;
const sectionHeaderSize = 64;
const symbolSize = 24;

interface Section {
  readonly type: number;
  readonly address: number;
  readonly offset: number;
  readonly size: number;
  readonly link: number;
}

/**
 * Where in the file what a symbol names is, by the table that `strip` takes away; `undefined` where there is no such symbol, or
 * the file is no ELF64.
 */
export function findSymbol(image: Buffer, name: string): number | undefined {
  const sections = readSections(image);
  const entry = findEntry(image, sections, {type: SHT_SYMTAB, name});
  if (entry === undefined) return undefined;
  const section = sections[image.readUInt16LE(entry + 6)];
  if (section === undefined || section.type !== SHT_PROGBITS) return undefined;
  return section.offset + Number(image.readBigUInt64LE(entry + 8)) - section.address;
}

/** Makes an imported function another one that is imported as well; `false`, and nothing is changed, where either is not. */
export function renameImport(image: Buffer, from: string, to: string): boolean {
  const sections = readSections(image);
  const [old, other] = [from, to].map((name) => findEntry(image, sections, {type: SHT_DYNSYM, name}));
  if (old === undefined || other === undefined) return false;
  image.writeUInt32LE(image.readUInt32LE(other), old);
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

/** Where a symbol's entry in a table is. */
function findEntry(
  image: Buffer,
  sections: readonly Section[],
  {type, name}: {readonly type: number; readonly name: string},
): number | undefined {
  const symbols = sections.find((each) => each.type === type);
  const strings = symbols && sections[symbols.link];
  if (!strings) return undefined;
  const isName = (at: number) => image.toString('latin1', at, at + name.length + 1) === `${name}\0`;
  // A name may be the end of another one.
  const offsets = new Set<number>();
  const end = strings.offset + strings.size;
  for (
    let at = image.indexOf(`${name}\0`, strings.offset);
    at >= 0 && at < end;
    at = image.indexOf(`${name}\0`, at + 1)
  )
    if (isName(at)) offsets.add(at - strings.offset);
  for (let at = symbols.offset; at < symbols.offset + symbols.size; at += symbolSize)
    if (offsets.has(image.readUInt32LE(at))) return at;
  return undefined;
}
