import {attrs} from '../attrs.ts';
import {bytes, s32, u16, u16be, u32, u32be, u8, type Codec} from '../codec.ts';
import {struct} from '../struct.ts';
import {actions} from './action.ts';

/** struct tc_u32_key: four bytes at `offset` from the network header, under `mask`. */
export interface U32Key {
  readonly mask: number;
  readonly value: number;
  readonly offset: number;
}

const key = struct({mask: u32be, value: u32be, offset: s32, offsetMask: s32});
// struct tc_u32_sel without its keys.
const selection = struct({
  flags: u8,
  offsetShift: u8,
  keyCount: u8,
  offsetMask: u16be,
  offset: u16,
  offsetOffset: u16,
  hashOffset: u16,
  hashMask: u32be,
});

// TC_U32_TERMINAL: a packet that matches is looked at no further.
const terminal = 1;

/** All keys have to match. */
export interface U32Match {
  readonly terminal: boolean;
  readonly keys: readonly U32Key[];
}

const match: Codec<U32Match> = {
  put(w, {terminal: ends, keys}) {
    selection.putPart(w, {flags: ends ? terminal : 0, keyCount: keys.length});
    for (const each of keys) key.putPart(w, each);
  },
  get(b, start, end) {
    const {flags, keyCount} = selection.get(b, start, end);
    const keys = Array.from({length: keyCount}, (_, i) => {
      const {mask, value, offset} = key.get(b, start + selection.size + i * key.size, end);
      return {mask, value, offset};
    });
    return {terminal: (flags & terminal) !== 0, keys};
  },
};

/** linux/pkt_cls.h, enum TCA_U32_*: a filter by any bytes of a packet. */
export const u32Filter = attrs({
  // The class a packet goes to.
  classId: [1, u32],
  hash: [2, u32],
  link: [3, u32],
  // Only of the hash tables that the kernel makes beside the filters.
  divisor: [4, u32],
  match: [5, match],
  actions: [7, actions],
  // What the kernel counted, as read.
  counters: [9, bytes],
  flags: [11, u32],
});

/** The match that every packet passes. */
export const matchAll: U32Match = {terminal: true, keys: [{mask: 0, value: 0, offset: 0}]};
