/** One file of an archive; `mode` as in stat(2), with its type bits. */
export interface CpioEntry {
  readonly name: string;
  readonly mode: number;
  readonly content: Uint8Array;
}

/**
 * An archive in the "newc" form that a kernel unpacks as its first root file system
 * (Documentation/driver-api/early-userspace/buffer-format.rst).
 */
export function formatCpio(entries: readonly CpioEntry[]): Buffer {
  const end: CpioEntry = {name: 'TRAILER!!!', mode: 0, content: Buffer.alloc(0)};
  return Buffer.concat([...entries, end].flatMap((entry, index) => member(entry, index + 1)));
}

function member({name, mode, content}: CpioEntry, inode: number): Uint8Array[] {
  const path = Buffer.from(`${name}\0`);
  const fields = [inode, mode, 0, 0, 1, 0, content.length, 0, 0, 0, 0, path.length, 0];
  const header = `070701${fields.map((field) => field.toString(16).padStart(8, '0')).join('')}`;
  return [Buffer.from(header), path, padding(header.length + path.length), content, padding(content.length)];
}

function padding(length: number): Buffer {
  return Buffer.alloc((4 - (length % 4)) % 4);
}
