import {bytes} from '../codec.ts';
import type {Codec} from '../codec.ts';

/**
 * User data: what nft keeps with an object and the kernel only stores. Entries of type, length and value,
 * one byte each for the first two (libnftnl/udata.h). The comment's type differs between objects.
 */
export interface UserData {
  readonly comment?: string;
  /** Entries beside the comment, by type, in the order they are written. */
  readonly entries?: readonly (readonly [type: number, value: Uint8Array])[];
}

/** nft refuses longer ones; the zero byte at the end is not counted. */
const maxCommentBytes = 128;

/** User data of an object whose comment has entry type `commentType`. */
export function userData(commentType: number): Codec<UserData> {
  return {
    put(w, {comment, entries = []}) {
      for (const [type, value] of entries) {
        bytes.put(w, Uint8Array.of(type, value.length));
        bytes.put(w, value);
      }
      if (comment === undefined) return;
      const text = commentBytes(comment);
      bytes.put(w, Uint8Array.of(commentType, text.length + 1));
      bytes.put(w, text);
      bytes.put(w, Uint8Array.of(0));
    },
    get(b, start, end) {
      const entries: [number, Uint8Array][] = [];
      let comment: string | undefined;
      for (let at = start; at + 2 <= end; at += 2 + b[at + 1]!) {
        const value = Buffer.from(b.subarray(at + 2, Math.min(at + 2 + b[at + 1]!, end)));
        if (b[at] === commentType) comment = value.toString('utf8', 0, Math.max(value.indexOf(0), 0));
        else entries.push([b[at]!, value]);
      }
      return comment === undefined ? {entries} : {comment, entries};
    },
  };
}

/**
 * A comment as nft prints and reads it back: no quote, backslash or control character (nft has no way to write
 * them), cut to what fits without breaking a character.
 */
export function cleanComment(text: string): string {
  // oxlint-disable-next-line no-control-regex
  const clean = text.replaceAll(/["\\\u0000-\u001f\u007f]/g, '');
  let size = Buffer.byteLength(clean);
  if (size <= maxCommentBytes) return clean;
  const characters = Array.from(clean);
  while (size > maxCommentBytes) size -= Buffer.byteLength(characters.pop()!);
  return characters.join('');
}

/** ` comment "text"`, or nothing. */
export function formatComment(comment: string | undefined): string {
  return comment === undefined ? '' : ` comment "${cleanComment(comment)}"`;
}

function commentBytes(comment: string): Buffer {
  return Buffer.from(cleanComment(comment));
}
