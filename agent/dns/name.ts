// Names are kept as text in lower case, without the dot at the end; the root is ''. A label's byte that is no letter, digit, '-' or
// '_' is written as \DDD (RFC 1035, 5.1), so that a dot in the text always parts labels.

const maxNameSize = 255;
const maxLabelSize = 63;
const maxPointers = 32;

/** A name read from a message: `end` is behind what it takes there. */
export interface ReadName {
  readonly name: string;
  readonly end: number;
  /** It is written in full, not with a pointer to an earlier one. */
  readonly plain: boolean;
}

/** Reads a name; undefined where it is none (a pointer that leads nowhere, a loop, beyond the end). */
export function readName(message: Uint8Array, start: number): ReadName | undefined {
  let name = '';
  let at = start;
  let end: number | undefined;
  let size = 0;
  let pointers = 0;
  for (;;) {
    const length = message[at];
    if (length === undefined) return undefined;
    if (length === 0) return {name, end: end ?? at + 1, plain: pointers === 0};
    if (length >= 0xc0) {
      const low = message[at + 1];
      if (low === undefined || ++pointers > maxPointers) return undefined;
      end ??= at + 2;
      const target = ((length & 0x3f) << 8) | low;
      // Only backwards (RFC 1035, 4.1.4: "a prior occurrence"), so that it ends.
      if (target >= at) return undefined;
      at = target;
      continue;
    }
    if (length > maxLabelSize || at + 1 + length > message.length) return undefined;
    size += length + 1;
    if (size >= maxNameSize) return undefined;
    if (name !== '') name += '.';
    for (let i = at + 1; i <= at + length; i++) name += characters[message[i]!]!;
    at += length + 1;
  }
}

/** How each byte of a label is written: letters in lower case. */
const characters: readonly string[] = Array.from({length: 256}, (_, byte) => {
  const character = String.fromCharCode(byte);
  if (/[A-Za-z0-9_-]/.test(character)) return character.toLowerCase();
  return `\\${String(byte).padStart(3, '0')}`;
});

/** The labels of a name as bytes; undefined where the text is no name. */
export function labelsOf(name: string): readonly Buffer[] | undefined {
  if (name === '') return [];
  const labels = name
    .split('.')
    .map((label) => (label.includes('\\') ? unescape(label) : Buffer.from(label, 'latin1')));
  const size = labels.reduce((sum, {length}) => sum + length + 1, 1);
  return size <= maxNameSize && labels.every(({length}) => length > 0 && length <= maxLabelSize)
    ? labels
    : undefined;
}

function unescape(label: string): Buffer {
  const text = label.replaceAll(/\\(\d{3})/g, (_, digits: string) => String.fromCharCode(Number(digits)));
  return Buffer.from(text, 'latin1');
}

/** Whether `name` is `zone` or below it. */
export function isBelow(name: string, zone: string): boolean {
  return zone === '' || name === zone || (name.endsWith(zone) && name[name.length - zone.length - 1] === '.');
}
