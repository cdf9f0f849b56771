/*
 * What `node --experimental-sea-config` makes: a header, the snapshot, assets. The snapshot ends with the compiled code of all
 * modules of Node's, 3.5 MB that every process copies when it starts, whether it loads these modules or not; the snapshot
 * itself holds those that are loaded already. (SeaSerializer and SnapshotSerializer in Node's src/; nothing in these
 * files is aligned, numbers are little-endian.)
 */

const magic = Buffer.from([0x19, 0xda, 0x43, 0x01]);
const lengthSize = 8;
/** Version, architecture and platform. */
const metadataTexts = 3;

/** Modules of Node's that a plugin call may load, and whose compiled code stays therefore. */
const kept = new Set([
  'sea',
  // To execute a delegate or iptables-restore, and to ask firewalld.
  'net',
  'child_process',
  'internal/child_process',
  'internal/socket_list',
  'dgram',
  'internal/dgram',
]);

interface Entry {
  readonly id: string;
  readonly start: number;
  readonly end: number;
}

/** The blob without the compiled code of modules that a plugin call never loads; throws for what is no such blob. */
export function dropCompiledModules(blob: Buffer): Buffer {
  const start = blob.indexOf(magic);
  if (start < lengthSize) throw new Error('the blob holds no start-up snapshot');
  const end = start + readLength(blob, start - lengthSize);
  const {at, entries} = findCompiledModules(blob, {start: skipV8Snapshot(blob, start), end});
  const parts = entries.filter(({id}) => kept.has(id)).map((entry) => blob.subarray(entry.start, entry.end));
  const snapshot = Buffer.concat([blob.subarray(start, at), formatLength(parts.length), ...parts]);
  return Buffer.concat([
    blob.subarray(0, start - lengthSize),
    formatLength(snapshot.length),
    snapshot,
    blob.subarray(end),
  ]);
}

/** Where V8's own part ends. */
function skipV8Snapshot(blob: Buffer, start: number): number {
  let at = start + magic.length + 1;
  for (let i = 0; i < metadataTexts; i++) at += lengthSize + readLength(blob, at);
  // Flags, then the size.
  at += 4;
  return at + 4 + blob.readUInt32LE(at);
}

/** What lies between has no fixed size: so it is the list that ends exactly where the snapshot ends. */
function findCompiledModules(
  blob: Buffer,
  {start, end}: {readonly start: number; readonly end: number},
): {readonly at: number; readonly entries: readonly Entry[]} {
  for (let at = start; at + lengthSize <= end; at++) {
    const entries = readEntries(blob, at, end);
    if (entries) return {at, entries};
  }
  throw new Error("the snapshot does not end with the compiled code of Node's modules");
}

function readEntries(blob: Buffer, start: number, end: number): readonly Entry[] | undefined {
  const count = readLength(blob, start);
  if (count < 100 || count > 2000) return undefined;
  const entries: Entry[] = [];
  let at = start + lengthSize;
  for (let i = 0; i < count; i++) {
    const id = readPart(blob, at, end);
    if (!id || !/^[\w/.-]{2,200}$/.test(id.toString('latin1'))) return undefined;
    const code = readPart(blob, at + lengthSize + id.length, end);
    if (!code) return undefined;
    const next = at + 2 * lengthSize + id.length + code.length;
    entries.push({id: id.toString('latin1'), start: at, end: next});
    at = next;
  }
  return at === end ? entries : undefined;
}

/** A length and as many bytes; `undefined` where they do not fit. */
function readPart(blob: Buffer, at: number, end: number): Buffer | undefined {
  if (at + lengthSize > end) return undefined;
  const length = readLength(blob, at);
  const from = at + lengthSize;
  return from + length <= end ? blob.subarray(from, from + length) : undefined;
}

function readLength(blob: Buffer, at: number): number {
  return Number(blob.readBigUInt64LE(at));
}

function formatLength(length: number): Buffer {
  const bytes = Buffer.alloc(lengthSize);
  bytes.writeBigUInt64LE(BigInt(length));
  return bytes;
}
